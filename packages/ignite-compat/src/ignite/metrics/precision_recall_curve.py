"""The curve of precision over recall."""

from __future__ import annotations

from ignite.metrics._epoch_function import EpochCurve
from ignite.metrics._ranking import precision_recall_curve

__all__ = ["PrecisionRecallCurve"]


class PrecisionRecallCurve(EpochCurve):
    """Precision and recall at each threshold: `compute` returns precisions, recalls and thresholds.

    `update` takes `(y_pred, y)`: scores and 0 or 1, of shape (N,).

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        check_compute_fn: whether the function is tried with the first batch; if it fails, a warning says so.

    Examples:
        >>> import torch
        >>> metric = PrecisionRecallCurve()
        >>> metric.update((torch.tensor([0.1, 0.9, 0.4, 0.7]), torch.tensor([0, 1, 1, 0])))
        >>> precision, recall, thresholds = metric.compute()
        >>> recall
        tensor([1.0000, 1.0000, 0.5000, 0.5000, 0.0000], dtype=torch.float64)
    """

    _function = staticmethod(precision_recall_curve)
