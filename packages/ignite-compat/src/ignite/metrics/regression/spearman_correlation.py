"""Spearman's rank correlation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._transform import whole
from ignite.metrics.regression._epoch_error import CheckedEpoch

__all__ = ["SpearmanRankCorrelation"]


class SpearmanRankCorrelation(CheckedEpoch):
    """Spearman's rank correlation of predictions and targets. All predictions are kept in memory.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        check_compute_fn: whether the function is tried with the first batch; if it fails, a warning says so.

    Examples:
        >>> metric = SpearmanRankCorrelation()
        >>> metric.update((torch.tensor([1.0, 4.0, 2.0]), torch.tensor([2.0, 5.0, 4.0])))
        >>> round(metric.compute(), 4)
        1.0
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        check_compute_fn: bool = True,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(
            _correlation,
            output_transform=output_transform,
            check_compute_fn=check_compute_fn,
            device=device,
            skip_unrolling=skip_unrolling,
        )


def _correlation(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    ranks = torch.stack([_ranks(predictions), _ranks(targets)])
    return torch.corrcoef(ranks)[0, 1].item()


def _ranks(values: torch.Tensor) -> torch.Tensor:
    """Return ranks from 1 on; equal values have the mean of theirs."""
    _, places, counts = torch.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum(dim=0)
    mean_ranks: torch.Tensor = last - (counts - 1) / 2.0
    return mean_ranks.double()[places]
