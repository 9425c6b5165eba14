"""`ignite.metrics.average_precision` under the name that it had before it moved."""

from ignite.metrics.average_precision import AveragePrecision

__all__ = ["AveragePrecision"]
