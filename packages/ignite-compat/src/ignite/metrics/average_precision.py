"""The average precision of scores."""

from __future__ import annotations

from ignite.metrics._epoch_function import EpochFunction
from ignite.metrics._ranking import average_precision

__all__ = ["AveragePrecision"]


class AveragePrecision(EpochFunction):
    """Average precision: mean of the precisions at each threshold, weighted by the increase in recall.

    `update` takes `(y_pred, y)`: scores and 0 or 1, both of shape (N,); or both of shape (N, C), or
    classes of shape (N,): then the mean over the columns.

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        check_compute_fn: whether the function is tried with the first batch; if it fails, a warning says so.

    Examples:
        >>> import torch
        >>> metric = AveragePrecision()
        >>> metric.update((torch.tensor([0.1, 0.9, 0.4, 0.7]), torch.tensor([0, 1, 1, 0])))
        >>> round(metric.compute(), 4)
        0.8333
    """

    _function = staticmethod(average_precision)
