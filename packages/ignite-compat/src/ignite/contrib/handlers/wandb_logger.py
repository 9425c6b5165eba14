"""The former place of :mod:`ignite.handlers.wandb_logger`."""

from ignite.handlers.wandb_logger import *  # noqa: F403  # the names of that module
