"""`ignite.metrics.regression.geometric_mean_relative_absolute_error` under the name that it had before it moved."""

from ignite.metrics.regression.geometric_mean_relative_absolute_error import GeometricMeanRelativeAbsoluteError

__all__ = ["GeometricMeanRelativeAbsoluteError"]
