"""The average precision of scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._ranking import average_precision
from ignite.metrics._transform import whole
from ignite.metrics.epoch_metric import EpochMetric

__all__ = ["AveragePrecision"]


class AveragePrecision(EpochMetric):
    """Average precision: mean of the precisions at each threshold, weighted by the increase in recall.

    `update` takes `(y_pred, y)`: scores and 0 or 1, both of shape (N,); or both of shape (N, C), or
    classes of shape (N,): then the mean over the columns.

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        check_compute_fn: whether the function is tried with the first batch; if it fails, a warning says so.

    Examples:
        >>> metric = AveragePrecision()
        >>> metric.update((torch.tensor([0.1, 0.9, 0.4, 0.7]), torch.tensor([0, 1, 1, 0])))
        >>> round(metric.compute(), 4)
        0.8333
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        check_compute_fn: bool = False,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(
            average_precision,
            output_transform=output_transform,
            check_compute_fn=check_compute_fn,
            device=device,
            skip_unrolling=skip_unrolling,
        )
