"""`ignite.metrics.regression.r2_score` under the name that it had before it moved."""

from ignite.metrics.regression.r2_score import *  # noqa: F403  # all of it, and nothing else
from ignite.metrics.regression.r2_score import __all__ as __all__
