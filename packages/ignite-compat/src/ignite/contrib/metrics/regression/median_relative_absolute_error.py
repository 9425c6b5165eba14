"""`ignite.metrics.regression.median_relative_absolute_error` under the name that it had before it moved."""

from ignite.metrics.regression.median_relative_absolute_error import MedianRelativeAbsoluteError

__all__ = ["MedianRelativeAbsoluteError"]
