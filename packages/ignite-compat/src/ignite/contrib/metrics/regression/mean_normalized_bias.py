"""`ignite.metrics.regression.mean_normalized_bias` under the name that it had before it moved."""

from ignite.metrics.regression.mean_normalized_bias import MeanNormalizedBias

__all__ = ["MeanNormalizedBias"]
