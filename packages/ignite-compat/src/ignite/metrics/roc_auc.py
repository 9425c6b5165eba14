"""The curve of true over false positives, and the area under it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._ranking import roc_auc, roc_curve
from ignite.metrics._transform import whole
from ignite.metrics.epoch_metric import EpochMetric

__all__ = ["ROC_AUC", "RocCurve"]


class ROC_AUC(EpochMetric):  # noqa: N801  # Ignite's name
    """Area under the curve of true positives over false positives.

    `update` takes `(y_pred, y)`: scores and 0 or 1, both of shape (N,); or both of shape (N, C): then
    the mean over the columns.

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        check_compute_fn: whether the function is tried with the first batch; if it fails, a warning says so.

    Examples:
        >>> metric = ROC_AUC()
        >>> metric.update((torch.tensor([0.1, 0.9, 0.4, 0.7]), torch.tensor([0, 1, 1, 0])))
        >>> metric.compute()
        0.75
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        check_compute_fn: bool = False,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(
            roc_auc,
            output_transform=output_transform,
            check_compute_fn=check_compute_fn,
            device=device,
            skip_unrolling=skip_unrolling,
        )


class RocCurve(EpochMetric):
    """Rates of false and true positives at each threshold.

    `update` takes `(y_pred, y)`: scores and 0 or 1, of shape (N,).

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        check_compute_fn: whether the function is tried with the first batch; if it fails, a warning says so.

    Examples:
        >>> metric = RocCurve()
        >>> metric.update((torch.tensor([0.1, 0.9, 0.4, 0.7]), torch.tensor([0, 1, 1, 0])))
        >>> false_positives, true_positives, thresholds = metric.compute()
        >>> true_positives
        tensor([0.0000, 0.5000, 0.5000, 1.0000, 1.0000], dtype=torch.float64)
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        check_compute_fn: bool = False,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(
            roc_curve,
            output_transform=output_transform,
            check_compute_fn=check_compute_fn,
            device=device,
            skip_unrolling=skip_unrolling,
        )

    def compute(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the curve.

        Returns:
            Rates of false positives, rates of true positives and thresholds, as tensors in double precision.

        Raises:
            NotComputableError: there is no batch yet.
            ValueError: there are more than two classes.
        """
        curve: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = super().compute()
        return curve
