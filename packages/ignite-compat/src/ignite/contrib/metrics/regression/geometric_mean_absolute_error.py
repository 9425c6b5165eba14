"""`ignite.metrics.regression.geometric_mean_absolute_error` under the name that it had before it moved."""

from ignite.metrics.regression.geometric_mean_absolute_error import GeometricMeanAbsoluteError

__all__ = ["GeometricMeanAbsoluteError"]
