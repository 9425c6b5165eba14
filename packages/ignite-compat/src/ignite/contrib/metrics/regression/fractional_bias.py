"""`ignite.metrics.regression.fractional_bias` under the name that it had before it moved."""

from ignite.metrics.regression.fractional_bias import FractionalBias

__all__ = ["FractionalBias"]
