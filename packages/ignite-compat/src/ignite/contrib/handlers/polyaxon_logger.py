"""The former place of :mod:`ignite.handlers.polyaxon_logger`."""

from ignite.handlers.polyaxon_logger import *  # noqa: F403  # the names of that module
