"""The geometric mean absolute error."""

from __future__ import annotations

import math

import torch

from ignite.metrics.regression._checked import ErrorMean

__all__ = ["GeometricMeanAbsoluteError"]


class GeometricMeanAbsoluteError(ErrorMean):
    """Geometric mean over samples of the absolute error.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        output_transform, device, skip_unrolling, metrics_result_mode: as :class:`Metric` takes them.

    Examples:
        >>> metric = GeometricMeanAbsoluteError()
        >>> metric.update((torch.tensor([1.0, 4.0]), torch.tensor([2.0, 5.0])))
        >>> round(metric.compute(), 4)
        1.0
    """

    def _errors(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (target - prediction).abs().log()

    def compute(self) -> float:
        """Return the mean.

        Returns:
            The geometric mean over all samples.

        Raises:
            NotComputableError: there is no sample yet.
        """
        return math.exp(super().compute())
