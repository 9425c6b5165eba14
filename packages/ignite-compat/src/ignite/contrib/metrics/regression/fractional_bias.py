"""`ignite.metrics.regression.fractional_bias` under the name that it had before it moved."""

from ignite.metrics.regression.fractional_bias import *  # noqa: F403  # all of it, and nothing else
from ignite.metrics.regression.fractional_bias import __all__ as __all__
