"""The median absolute percentage error."""

from __future__ import annotations

import torch

from ignite.metrics._sample_mean import median
from ignite.metrics.regression._epoch_error import EpochError

__all__ = ["MedianAbsolutePercentageError"]


def _median(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    errors = (targets - predictions.view_as(targets)).abs() / targets.abs()
    return 100.0 * median(errors)


class MedianAbsolutePercentageError(EpochError):
    """Median over samples of the absolute error over the absolute target, in per cent.

    All predictions are kept in memory.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> metric = MedianAbsolutePercentageError()
        >>> metric.update((torch.tensor([1.0, 4.0, 2.0]), torch.tensor([2.0, 5.0, 4.0])))
        >>> round(metric.compute(), 4)
        50.0
    """

    _function = staticmethod(_median)
