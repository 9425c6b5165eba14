"""Kendall's rank correlation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch

from ignite.metrics._transform import whole
from ignite.metrics.regression._epoch_error import CheckedEpoch

__all__ = ["KendallRankCorrelation"]


class KendallRankCorrelation(CheckedEpoch):
    """Kendall's rank correlation of predictions and targets. All predictions are kept in memory.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        variant: how ties count: "b" or "c".
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        check_compute_fn: whether the function is tried with the first batch; if it fails, a warning says so.

    Examples:
        >>> metric = KendallRankCorrelation()
        >>> metric.update((torch.tensor([1.0, 4.0, 2.0]), torch.tensor([2.0, 5.0, 4.0])))
        >>> round(metric.compute(), 4)
        1.0
    """

    def __init__(
        self,
        variant: Literal["b", "c"] = "b",
        output_transform: Callable[[Any], Any] = whole,
        check_compute_fn: bool = True,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        if variant not in VARIANTS:
            raise ValueError(f"`variant` must be 'b' or 'c', got {variant!r}")
        self.variant = variant
        super().__init__(
            VARIANTS[variant],
            output_transform=output_transform,
            check_compute_fn=check_compute_fn,
            device=device,
            skip_unrolling=skip_unrolling,
        )


def _tau_b(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    difference, untied_predictions, untied_targets, _ = _pairs(predictions, targets)
    product = untied_predictions * untied_targets
    return difference / math.sqrt(product) if product else math.nan


def _tau_c(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    difference, _, _, count = _pairs(predictions, targets)
    kinds = min(len(torch.unique(predictions)), len(torch.unique(targets)))
    return 2 * difference / (count**2 * (kinds - 1) / kinds) if kinds > 1 else math.nan


def _pairs(predictions: torch.Tensor, targets: torch.Tensor) -> tuple[int, int, int, int]:
    """Return how many pairs agree less how many disagree, how many are no tie in each, and how many samples."""
    difference = untied_predictions = untied_targets = 0
    for place in range(1, len(targets)):
        signs, target_signs = (torch.sign(values[:place] - values[place]).long() for values in (predictions, targets))
        difference += int((signs * target_signs).sum())
        untied_predictions += int(signs.count_nonzero())
        untied_targets += int(target_signs.count_nonzero())
    return difference, untied_predictions, untied_targets, len(targets)


VARIANTS = {"b": _tau_b, "c": _tau_c}
