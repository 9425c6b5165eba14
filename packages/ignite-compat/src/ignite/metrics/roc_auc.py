"""The curve of true over false positives, and the area under it."""

from __future__ import annotations

from ignite.metrics._epoch_function import EpochCurve, EpochFunction
from ignite.metrics._ranking import roc_auc, roc_curve

__all__ = ["ROC_AUC", "RocCurve"]


class ROC_AUC(EpochFunction):  # noqa: N801  # Ignite's name
    """Area under the curve of true positives over false positives.

    `update` takes `(y_pred, y)`: scores and 0 or 1, both of shape (N,); or both of shape (N, C): then
    the mean over the columns.

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        check_compute_fn: whether the function is tried with the first batch; if it fails, a warning says so.

    Examples:
        >>> import torch
        >>> metric = ROC_AUC()
        >>> metric.update((torch.tensor([0.1, 0.9, 0.4, 0.7]), torch.tensor([0, 1, 1, 0])))
        >>> metric.compute()
        0.75
    """

    _function = staticmethod(roc_auc)


class RocCurve(EpochCurve):
    """Rates of false and true positives at each threshold: `compute` returns both rates and the thresholds.

    `update` takes `(y_pred, y)`: scores and 0 or 1, of shape (N,).

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        check_compute_fn: whether the function is tried with the first batch; if it fails, a warning says so.

    Examples:
        >>> import torch
        >>> metric = RocCurve()
        >>> metric.update((torch.tensor([0.1, 0.9, 0.4, 0.7]), torch.tensor([0, 1, 1, 0])))
        >>> false_positives, true_positives, thresholds = metric.compute()
        >>> true_positives
        tensor([0.0000, 0.5000, 0.5000, 1.0000, 1.0000], dtype=torch.float64)
    """

    _function = staticmethod(roc_curve)
