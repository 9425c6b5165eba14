"""The former place of :mod:`ignite.handlers.param_scheduler`."""

from ignite.handlers.param_scheduler import *  # noqa: F403  # the names of that module
