"""`ignite.metrics.regression.median_absolute_error` under the name that it had before it moved."""

from ignite.metrics.regression.median_absolute_error import MedianAbsoluteError

__all__ = ["MedianAbsoluteError"]
