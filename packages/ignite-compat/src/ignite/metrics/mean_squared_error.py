"""The mean squared error."""

from __future__ import annotations

import torch

from ignite.metrics._sample_mean import SampleMean

__all__ = ["MeanSquaredError"]


class MeanSquaredError(SampleMean):
    """Mean over samples of the squared error, summed over what is not the batch dimension.

    `update` takes `(y_pred, y)` of one shape (N, *).

    Args:
        output_transform, device, skip_unrolling, metrics_result_mode: as :class:`Metric` takes them.

    Examples:
        >>> metric = MeanSquaredError()
        >>> metric.update((torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])))
        >>> metric.compute()
        2.0
    """

    _state_dict_all_req_keys = ("_sum_of_squared_errors", "_num_examples")

    def _sum_and_count(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
        return torch.sum((prediction - target.view_as(prediction)) ** 2), target.shape[0]
