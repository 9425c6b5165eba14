"""`ignite.metrics.regression.median_absolute_percentage_error` under the name that it had before it moved."""

from ignite.metrics.regression.median_absolute_percentage_error import MedianAbsolutePercentageError

__all__ = ["MedianAbsolutePercentageError"]
