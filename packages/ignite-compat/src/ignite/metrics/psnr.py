"""The peak signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._sample_mean import SampleMean, require_same_type

__all__ = ["PSNR"]


class PSNR(SampleMean):
    """Mean over samples of the peak signal-to-noise ratio in decibel.

    `update` takes `(y_pred, y)` of one shape (N, *) and one dtype.

    Args:
        data_range: distance between the least and the greatest value that targets may have.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> metric = PSNR(data_range=1.0)
        >>> metric.update((torch.full((1, 2, 2), 0.5), torch.full((1, 2, 2), 0.6)))
        >>> round(metric.compute(), 2)
        20.0
    """

    _state_dict_all_req_keys = ("_sum_of_batchwise_psnr", "_num_examples")
    _dtype = torch.float64

    def __init__(
        self,
        data_range: float,
        output_transform: Callable[[Any], Any] = lambda x: x,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(output_transform, device=device, skip_unrolling=skip_unrolling)
        self.data_range = data_range

    def _sum_and_count(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
        require_same_type(prediction, target)
        mean_squares = (prediction.double() - target.double()).pow(2).unsqueeze(-1).flatten(1).mean(dim=1)
        return torch.sum(10.0 * torch.log10(self.data_range**2 / (mean_squares + 1e-10))), target.shape[0]
