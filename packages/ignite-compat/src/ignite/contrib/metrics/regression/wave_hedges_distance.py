"""`ignite.metrics.regression.wave_hedges_distance` under the name that it had before it moved."""

from ignite.metrics.regression.wave_hedges_distance import *  # noqa: F403  # all of it, and nothing else
from ignite.metrics.regression.wave_hedges_distance import __all__ as __all__
