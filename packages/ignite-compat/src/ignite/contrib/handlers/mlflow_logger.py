"""The former place of :mod:`ignite.handlers.mlflow_logger`."""

from ignite.handlers.mlflow_logger import *  # noqa: F403  # the names of that module
