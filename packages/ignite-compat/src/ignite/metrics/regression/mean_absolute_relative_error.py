"""The mean absolute relative error."""

from __future__ import annotations

import torch

from ignite.metrics.regression._checked import ErrorMean, nonzero

__all__ = ["MeanAbsoluteRelativeError"]


class MeanAbsoluteRelativeError(ErrorMean):
    """Mean over samples of the absolute error over the absolute target, which must not be 0.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        output_transform, device, skip_unrolling, metrics_result_mode: as :class:`Metric` takes them.

    Examples:
        >>> metric = MeanAbsoluteRelativeError()
        >>> metric.update((torch.tensor([1.0, 4.0]), torch.tensor([2.0, 5.0])))
        >>> round(metric.compute(), 4)
        0.35
    """

    _state_dict_all_req_keys = ("_sum_of_absolute_relative_errors", "_num_samples")

    def _errors(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (target - prediction).abs() / nonzero(target).abs()
