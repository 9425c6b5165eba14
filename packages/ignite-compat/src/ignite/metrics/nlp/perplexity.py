"""The perplexity of a language model."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._sample_mean import SampleMean
from ignite.metrics._transform import whole

__all__ = ["Perplexity"]


class Perplexity(SampleMean):
    """Exponential of the mean negative log-likelihood of the tokens.

    `update` takes `(y_pred, y)`: logits of shape (N, V, L) and tokens of shape (N, L).

    Args:
        output_transform, device: as :class:`Metric` takes them.
        ignore_index: the token that does not count.

    Examples:
        >>> perplexity = Perplexity()
        >>> perplexity.update((torch.zeros(1, 5, 3), torch.tensor([[0, 4, 2]])))
        >>> round(perplexity.compute(), 4)
        5.0
    """

    _state_dict_all_req_keys = ("_sum_of_nll", "_num_tokens")

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        ignore_index: int = -100,
    ) -> None:
        self.ignore_index = ignore_index
        super().__init__(output_transform=output_transform, device=device)

    def _sum_and_count(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
        if prediction.dim() < 2 or prediction.shape[:1] + prediction.shape[2:] != target.shape:
            shapes = f"{tuple(prediction.shape)} and {tuple(target.shape)}"
            raise ValueError(f"`y_pred` and `y` must have the shapes (N, V, *) and (N, *), got {shapes}")
        total = torch.nn.functional.cross_entropy(prediction, target, ignore_index=self.ignore_index, reduction="sum")
        return total, int((target != self.ignore_index).sum())

    def compute(self) -> float:
        """Return the perplexity.

        Returns:
            1 for a model that is certain and right.

        Raises:
            NotComputableError: there is no token yet.
        """
        mean = super().compute()
        return math.exp(mean) if mean < 709 else math.inf  # the greatest double is e to the 709.78
