"""The former place of :mod:`ignite.handlers.neptune_logger`."""

from ignite.handlers.neptune_logger import *  # noqa: F403  # the names of that module
