"""The hit rate of recommendations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._transform import whole
from ignite.metrics.rec_sys._ranked import RankedMetric

__all__ = ["HitRate"]


class HitRate(RankedMetric):
    """Share of users with a relevant item among the first recommendations.

    `update` takes `(y_pred, y)`: scores of items, and 1 for relevant ones, both of shape (N, I).

    Args:
        top_k: how many recommendations count, one or several numbers.
        ignore_zero_hits: whether users without a relevant item are left out.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Raises:
        ValueError: `top_k` is not positive.

    Examples:
        >>> rate = HitRate(top_k=[1, 2])
        >>> rate.update((torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[0.0, 1.0, 0.0]])))
        >>> rate.compute()
        [0.0, 1.0]
    """

    _state_dict_all_req_keys = ("_hits_per_k", "_num_examples")

    def __init__(
        self,
        top_k: list[int] | int = 1,
        ignore_zero_hits: bool = True,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(top_k, ignore_zero_hits, output_transform, device, skip_unrolling)

    def _results(self, scores: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
        order = scores.topk(self.top_k[-1], dim=-1).indices
        hits = relevance.gather(-1, order) > 0
        return torch.stack([hits[:, :k].any(dim=-1) for k in self.top_k], dim=-1)
