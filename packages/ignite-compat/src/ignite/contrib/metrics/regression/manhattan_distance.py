"""`ignite.metrics.regression.manhattan_distance` under the name that it had before it moved."""

from ignite.metrics.regression.manhattan_distance import ManhattanDistance

__all__ = ["ManhattanDistance"]
