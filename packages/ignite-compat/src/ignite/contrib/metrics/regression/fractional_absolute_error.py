"""`ignite.metrics.regression.fractional_absolute_error` under the name that it had before it moved."""

from ignite.metrics.regression.fractional_absolute_error import *  # noqa: F403  # all of it, and nothing else
from ignite.metrics.regression.fractional_absolute_error import __all__ as __all__
