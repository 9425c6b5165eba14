"""The Canberra distance."""

from __future__ import annotations

import torch

from ignite.metrics.regression._checked import ErrorSum

__all__ = ["CanberraMetric"]


class CanberraMetric(ErrorSum):
    """Sum over samples of the absolute error over the sum of the absolute values.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        output_transform, device, skip_unrolling, metrics_result_mode: as :class:`Metric` takes them.

    Examples:
        >>> metric = CanberraMetric()
        >>> metric.update((torch.tensor([1.0, 4.0]), torch.tensor([2.0, 5.0])))
        >>> round(metric.compute(), 4)
        0.4444
    """

    def _errors(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (target - prediction).abs() / (target.abs() + prediction.abs() + 1e-15)
