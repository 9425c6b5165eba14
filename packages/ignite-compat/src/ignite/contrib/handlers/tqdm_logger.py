"""The former place of :mod:`ignite.handlers.tqdm_logger`."""

from ignite.handlers.tqdm_logger import *  # noqa: F403  # the names of that module
