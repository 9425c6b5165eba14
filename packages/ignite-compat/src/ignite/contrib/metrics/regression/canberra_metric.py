"""`ignite.metrics.regression.canberra_metric` under the name that it had before it moved."""

from ignite.metrics.regression.canberra_metric import *  # noqa: F403  # all of it, and nothing else
from ignite.metrics.regression.canberra_metric import __all__ as __all__
