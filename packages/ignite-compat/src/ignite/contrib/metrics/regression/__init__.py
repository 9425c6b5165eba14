"""Metrics of regression under the name that they had before they moved to `ignite.metrics.regression`."""

from ignite.metrics.regression import *  # noqa: F403  # all of them, and no others
from ignite.metrics.regression import __all__ as __all__
