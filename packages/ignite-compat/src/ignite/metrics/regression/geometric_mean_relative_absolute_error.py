"""The geometric mean relative absolute error."""

from __future__ import annotations

import torch

from ignite.metrics.regression._epoch_error import CheckedEpoch, EpochError

__all__ = ["GeometricMeanRelativeAbsoluteError"]


def _mean(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    errors = (targets - predictions).abs() / (targets - targets.mean()).abs()
    return errors.log().mean().exp().item()


class GeometricMeanRelativeAbsoluteError(CheckedEpoch, EpochError):
    """Geometric mean over samples of the absolute error over the target's distance from the mean target.

    All predictions are kept in memory.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> metric = GeometricMeanRelativeAbsoluteError()
        >>> metric.update((torch.tensor([1.0, 4.0, 2.0]), torch.tensor([2.0, 5.0, 4.0])))
        >>> round(metric.compute(), 4)
        1.3925
    """

    _function = staticmethod(_mean)
