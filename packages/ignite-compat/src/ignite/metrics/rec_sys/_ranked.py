"""What metrics of recommendations share: sums over users, one for each number of recommendations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._sharing import reduced
from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric, reinit__is_reduced


class RankedMetric(Metric):
    """Base of means over users.

    Args:
        top_k: how many recommendations count, one or several numbers.
        ignore_zero_hits: whether users without a relevant item are left out.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
    """

    def __init__(
        self,
        top_k: list[int] | int,
        ignore_zero_hits: bool,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        counts = [top_k] if isinstance(top_k, int) else top_k
        if not isinstance(counts, list | tuple) or not counts or any(not k > 0 for k in counts):
            raise ValueError(f"`top_k` must be a positive integer or a list of them, got {top_k!r}")
        self.top_k = sorted(counts)
        self.ignore_zero_hits = ignore_zero_hits
        super().__init__(output_transform, device=device, skip_unrolling=skip_unrolling)

    def _results(self, scores: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
        """Return the results of users, of shape (N, len(top_k))."""
        raise NotImplementedError

    def _relevance(self, target: torch.Tensor) -> torch.Tensor:
        """Return how relevant each item is."""
        return target

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        sums, count = self._state_dict_all_req_keys
        setattr(self, sums, torch.zeros(len(self.top_k), device=self._device))
        setattr(self, count, 0)

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add users.

        Args:
            output: scores and relevances, of shape (N, I).

        Raises:
            ValueError: the shapes differ.
        """
        scores, target = output[0].detach(), output[1].detach()
        if scores.shape != target.shape:
            raise ValueError(
                f"`y_pred` and `y` must have one shape, got {tuple(scores.shape)} and {tuple(target.shape)}"
            )
        items = scores.shape[-1]
        scores, relevance = scores.reshape(-1, items), self._relevance(target.reshape(-1, items))
        if self.ignore_zero_hits:
            counted = (relevance > 0).any(dim=-1)
            scores, relevance = scores[counted], relevance[counted]
        sums, count = self._state_dict_all_req_keys
        setattr(self, count, getattr(self, count) + len(scores))
        if len(scores):
            results = self._results(scores, relevance).float().sum(dim=0)
            setattr(self, sums, getattr(self, sums) + results.to(self._device))

    def compute(self) -> list[float]:
        """Return the means.

        Returns:
            A number for each of `top_k`, in ascending order of these.

        Raises:
            NotComputableError: there is no user yet.
        """
        sums, count = self._state_dict_all_req_keys
        users = reduced(getattr(self, count), count)
        if users == 0:
            raise NotComputableError(f"{type(self).__name__} needs at least one user before it is computed")
        means: list[float] = (reduced(getattr(self, sums), sums) / users).tolist()
        return means
