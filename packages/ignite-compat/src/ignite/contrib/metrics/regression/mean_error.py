"""`ignite.metrics.regression.mean_error` under the name that it had before it moved."""

from ignite.metrics.regression.mean_error import MeanError

__all__ = ["MeanError"]
