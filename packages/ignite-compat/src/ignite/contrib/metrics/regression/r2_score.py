"""`ignite.metrics.regression.r2_score` under the name that it had before it moved."""

from ignite.metrics.regression.r2_score import R2Score

__all__ = ["R2Score"]
