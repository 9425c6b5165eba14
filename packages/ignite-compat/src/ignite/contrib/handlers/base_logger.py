"""The former place of :mod:`ignite.handlers.base_logger`."""

from ignite.handlers.base_logger import *  # noqa: F403  # the names of that module
