"""`ignite.metrics.regression.wave_hedges_distance` under the name that it had before it moved."""

from ignite.metrics.regression.wave_hedges_distance import WaveHedgesDistance

__all__ = ["WaveHedgesDistance"]
