"""`ignite.metrics.regression.canberra_metric` under the name that it had before it moved."""

from ignite.metrics.regression.canberra_metric import CanberraMetric

__all__ = ["CanberraMetric"]
