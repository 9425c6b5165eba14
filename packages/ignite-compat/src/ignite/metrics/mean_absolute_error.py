"""The mean absolute error."""

from __future__ import annotations

import torch

from ignite.metrics._sample_mean import SampleMean

__all__ = ["MeanAbsoluteError"]


class MeanAbsoluteError(SampleMean):
    """Mean over samples of the absolute error, summed over what is not the batch dimension.

    `update` takes `(y_pred, y)` of one shape (N, *).

    Args:
        output_transform, device, skip_unrolling, metrics_result_mode: as :class:`Metric` takes them.

    Examples:
        >>> metric = MeanAbsoluteError()
        >>> metric.update((torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])))
        >>> metric.compute()
        1.0
    """

    _state_dict_all_req_keys = ("_sum_of_absolute_errors", "_num_examples")

    def _sum_and_count(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
        return torch.sum(torch.abs(prediction - target.view_as(prediction))), target.shape[0]
