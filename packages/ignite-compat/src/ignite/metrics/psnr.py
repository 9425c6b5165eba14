"""The peak signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._sample_mean import SampleMean, require_same_type
from ignite.metrics._transform import whole

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
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(output_transform, device=device, skip_unrolling=skip_unrolling)
        self.data_range = data_range

    def _sum_and_count(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
        require_same_type(prediction, target)
        squares = (prediction.double() - target.double()) ** 2
        count = target.shape[0]
        # Numbers have no dimensions of their own: the whole batch is one image then.
        means = squares.flatten(1).mean(dim=1) if squares.dim() > 1 else squares.mean().expand(count)
        return torch.sum(10.0 * torch.log10(self.data_range**2 / (means + 1e-10))), count
