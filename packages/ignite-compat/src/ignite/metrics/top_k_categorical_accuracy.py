"""The share of samples whose class is among the first predictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._sample_mean import SampleMean
from ignite.metrics._transform import whole

__all__ = ["TopKCategoricalAccuracy"]


class TopKCategoricalAccuracy(SampleMean):
    """Share of samples whose class is among the `k` with the highest scores.

    `update` takes `(y_pred, y)`: scores of shape (N, C) and classes of shape (N,).

    Args:
        k: how many of the highest scores count.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> metric = TopKCategoricalAccuracy(k=2)
        >>> metric.update((torch.tensor([[0.1, 0.3, 0.6], [0.1, 0.3, 0.6]]), torch.tensor([1, 0])))
        >>> metric.compute()
        0.5
    """

    _state_dict_all_req_keys = ("_num_correct", "_num_examples")
    _dtype = torch.int64

    def __init__(
        self,
        k: int = 5,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(output_transform, device=device, skip_unrolling=skip_unrolling)
        self._k = k

    def _sum_and_count(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
        highest = prediction.topk(self._k, dim=1).indices
        return (highest == target.reshape(-1, 1)).sum(), target.shape[0]
