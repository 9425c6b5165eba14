"""`ignite.metrics.regression.maximum_absolute_error` under the name that it had before it moved."""

from ignite.metrics.regression.maximum_absolute_error import MaximumAbsoluteError

__all__ = ["MaximumAbsoluteError"]
