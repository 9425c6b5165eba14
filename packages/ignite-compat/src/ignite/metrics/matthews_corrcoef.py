"""The correlation of predicted and true classes."""

from __future__ import annotations

import torch

from ignite.metrics._contingency import contingency
from ignite.metrics._epoch_function import EpochFunction

__all__ = ["MatthewsCorrCoef"]


def _correlation(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    counts = contingency(predictions, targets).double()
    total, true, predicted = counts.sum(), counts.sum(dim=1), counts.sum(dim=0)
    covariance = counts.trace() * total - true @ predicted
    variances = (total**2 - predicted @ predicted) * (total**2 - true @ true)
    return float((covariance / variances.sqrt()).item()) if variances > 0 else 0.0


class MatthewsCorrCoef(EpochFunction):
    """Matthews correlation coefficient of predicted and true classes.

    `update` takes `(y_pred, y)`: classes of shape (N,), or scores or one-hot vectors of shape (N, C).

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        check_compute_fn: whether the function is tried with the first batch; if it fails, a warning says so.

    Examples:
        >>> metric = MatthewsCorrCoef()
        >>> metric.update((torch.tensor([1, 1, 1, 0]), torch.tensor([1, 1, 0, 0])))
        >>> round(metric.compute(), 4)
        0.5774
    """

    _function = staticmethod(_correlation)
