"""The curve of precision over recall."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._ranking import precision_recall_curve
from ignite.metrics._transform import whole
from ignite.metrics.epoch_metric import EpochMetric

__all__ = ["PrecisionRecallCurve"]


class PrecisionRecallCurve(EpochMetric):
    """Precision and recall at each threshold.

    `update` takes `(y_pred, y)`: scores and 0 or 1, of shape (N,).

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        check_compute_fn: whether the function is tried with the first batch; if it fails, a warning says so.

    Examples:
        >>> metric = PrecisionRecallCurve()
        >>> metric.update((torch.tensor([0.1, 0.9, 0.4, 0.7]), torch.tensor([0, 1, 1, 0])))
        >>> precision, recall, thresholds = metric.compute()
        >>> recall
        tensor([1.0000, 1.0000, 0.5000, 0.5000, 0.0000], dtype=torch.float64)
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        check_compute_fn: bool = False,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(
            precision_recall_curve,
            output_transform=output_transform,
            check_compute_fn=check_compute_fn,
            device=device,
            skip_unrolling=skip_unrolling,
        )

    def compute(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the curve.

        Returns:
            Precisions, recalls and thresholds, as tensors in double precision.

        Raises:
            NotComputableError: there is no batch yet.
            ValueError: there are more than two classes.
        """
        curve: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = super().compute()
        return curve
