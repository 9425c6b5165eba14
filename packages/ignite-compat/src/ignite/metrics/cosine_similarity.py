"""The mean cosine similarity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._sample_mean import SampleMean
from ignite.metrics._transform import whole

__all__ = ["CosineSimilarity"]


class CosineSimilarity(SampleMean):
    """Mean over samples of the cosine of the angle between prediction and target.

    `update` takes `(y_pred, y)` of one shape (N, F, *), flattened to (N, F * ...).

    Args:
        eps: least product of the norms, against division by zero.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> metric = CosineSimilarity()
        >>> metric.update((torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])))
        >>> round(metric.compute(), 4)
        0.7071
    """

    _state_dict_all_req_keys = ("_sum_of_cos_similarities", "_num_examples")

    def __init__(
        self,
        eps: float = 1e-8,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(output_transform, device=device, skip_unrolling=skip_unrolling)
        self._eps = eps

    def _sum_and_count(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
        similarities = torch.cosine_similarity(prediction.flatten(1), target.flatten(1), dim=1, eps=self._eps)
        return torch.sum(similarities), target.shape[0]
