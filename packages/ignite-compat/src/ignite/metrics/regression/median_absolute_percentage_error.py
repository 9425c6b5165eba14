"""The median absolute percentage error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._sample_mean import median
from ignite.metrics._transform import whole
from ignite.metrics.epoch_metric import EpochMetric

__all__ = ["MedianAbsolutePercentageError"]


class MedianAbsolutePercentageError(EpochMetric):
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

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(
            _median,
            output_transform=output_transform,
            check_compute_fn=False,
            device=device,
            skip_unrolling=skip_unrolling,
        )


def _median(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    errors = (targets - predictions.view_as(targets)).abs() / targets.abs()
    return 100.0 * median(errors)
