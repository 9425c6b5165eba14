"""The median absolute error."""

from __future__ import annotations

import torch

from ignite.metrics._sample_mean import median
from ignite.metrics.regression._epoch_error import EpochError

__all__ = ["MedianAbsoluteError"]


def _median(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    return median((targets - predictions.view_as(targets)).abs().double())


class MedianAbsoluteError(EpochError):
    """Median over samples of the absolute error. All predictions are kept in memory.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> metric = MedianAbsoluteError()
        >>> metric.update((torch.tensor([1.0, 4.0, 2.0]), torch.tensor([2.0, 5.0, 4.0])))
        >>> round(metric.compute(), 4)
        1.0
    """

    _function = staticmethod(_median)
