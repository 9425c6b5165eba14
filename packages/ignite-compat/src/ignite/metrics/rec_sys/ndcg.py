"""The normalized discounted cumulative gain of recommendations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._transform import whole
from ignite.metrics.rec_sys._ranked import RankedMetric

__all__ = ["NDCG"]


class NDCG(RankedMetric):
    """Mean over users of the gain of the first recommendations over the greatest possible one.

    `update` takes `(y_pred, y)`: scores and relevances of items, both of shape (N, I).

    Args:
        top_k: how many recommendations count, one or several numbers.
        ignore_zero_hits: whether users without a relevant item are left out.
        relevance_threshold: a relevance below it is none.
        gain_function: "exp_rank" for 2 to the power of the relevance less 1, "linear_rank" for the relevance.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Raises:
        ValueError: `top_k` is not positive, or `gain_function` is none of these.

    Examples:
        >>> gain = NDCG(top_k=[1, 2])
        >>> gain.update((torch.tensor([[0.9, 0.5, 0.1]]), torch.tensor([[0.0, 1.0, 0.0]])))
        >>> [round(each, 4) for each in gain.compute()]
        [0.0, 0.6309]
    """

    _state_dict_all_req_keys = ("_sum_ndcg_per_k", "_num_examples")

    def __init__(
        self,
        top_k: list[int],
        ignore_zero_hits: bool = True,
        relevance_threshold: float = 1.0,
        gain_function: str = "exp_rank",
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        if gain_function not in ("exp_rank", "linear_rank"):
            raise ValueError(f"`gain_function` must be 'exp_rank' or 'linear_rank', got {gain_function!r}")
        self.relevance_threshold = relevance_threshold
        self.gain_function = gain_function
        super().__init__(top_k, ignore_zero_hits, output_transform, device, skip_unrolling)

    def _relevance(self, target: torch.Tensor) -> torch.Tensor:
        return torch.where(target >= self.relevance_threshold, target, torch.zeros_like(target))

    def _results(self, scores: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
        gains = relevance.float() if self.gain_function == "linear_rank" else 2.0 ** relevance.float() - 1.0
        gained = self._discounted(gains.gather(-1, scores.argsort(dim=-1, descending=True, stable=True)))
        possible = self._discounted(gains.sort(dim=-1, descending=True).values)
        return torch.where(possible > 0, gained / possible, torch.zeros_like(gained))

    def _discounted(self, gains: torch.Tensor) -> torch.Tensor:
        items = gains.shape[-1]
        sums = (gains / torch.log2(torch.arange(items, device=gains.device) + 2.0)).cumsum(dim=-1)
        return sums[:, [min(k, items) - 1 for k in self.top_k]]
