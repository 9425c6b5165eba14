"""The former place of :mod:`ignite.handlers.visdom_logger`."""

from ignite.handlers.visdom_logger import *  # noqa: F403  # the names of that module
