"""The former place of :mod:`ignite.handlers.tensorboard_logger`."""

from ignite.handlers.tensorboard_logger import *  # noqa: F403  # the names of that module
