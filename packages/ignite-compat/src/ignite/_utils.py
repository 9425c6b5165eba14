"""The former place of :mod:`ignite.utils`."""

from ignite.utils import *  # noqa: F403  # the names of that module
