"""`ignite.metrics.regression.fractional_absolute_error` under the name that it had before it moved."""

from ignite.metrics.regression.fractional_absolute_error import FractionalAbsoluteError

__all__ = ["FractionalAbsoluteError"]
