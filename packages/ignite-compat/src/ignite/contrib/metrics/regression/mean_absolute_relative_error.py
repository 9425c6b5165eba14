"""`ignite.metrics.regression.mean_absolute_relative_error` under the name that it had before it moved."""

from ignite.metrics.regression.mean_absolute_relative_error import MeanAbsoluteRelativeError

__all__ = ["MeanAbsoluteRelativeError"]
