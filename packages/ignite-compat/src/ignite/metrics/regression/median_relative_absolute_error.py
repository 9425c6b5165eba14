"""The median relative absolute error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._sample_mean import median
from ignite.metrics._transform import whole
from ignite.metrics.epoch_metric import EpochMetric

__all__ = ["MedianRelativeAbsoluteError"]


class MedianRelativeAbsoluteError(EpochMetric):
    """Median over samples of the absolute error over the target's distance from the mean target.

    All predictions are kept in memory.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.


    Examples:
        >>> metric = MedianRelativeAbsoluteError()
        >>> metric.update((torch.tensor([1.0, 4.0, 2.0]), torch.tensor([2.0, 5.0, 4.0])))
        >>> round(metric.compute(), 4)
        0.75
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
    errors = (targets - predictions.view_as(targets)).abs() / (targets - targets.mean()).abs()
    return median(errors)
