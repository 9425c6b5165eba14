"""The former place of :mod:`ignite.handlers.clearml_logger`."""

from ignite.handlers.clearml_logger import *  # noqa: F403  # the names of that module
