"""The mean normalized bias."""

from __future__ import annotations

import torch

from ignite.metrics.regression._checked import ErrorMean, nonzero

__all__ = ["MeanNormalizedBias"]


class MeanNormalizedBias(ErrorMean):
    """Mean over samples of the error over the target, which must not be 0.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        output_transform, device, skip_unrolling, metrics_result_mode: as :class:`Metric` takes them.

    Examples:
        >>> metric = MeanNormalizedBias()
        >>> metric.update((torch.tensor([1.0, 4.0]), torch.tensor([2.0, 5.0])))
        >>> round(metric.compute(), 4)
        0.35
    """

    def _errors(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (target - prediction) / nonzero(target)
