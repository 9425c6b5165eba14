"""The former place of :mod:`ignite.handlers.time_profilers`."""

from ignite.handlers.time_profilers import *  # noqa: F403  # the names of that module
