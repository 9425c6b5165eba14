"""The former place of :mod:`ignite.handlers.lr_finder`."""

from ignite.handlers.lr_finder import *  # noqa: F403  # the names of that module
