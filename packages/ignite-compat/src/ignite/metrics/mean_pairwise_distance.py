"""The mean distance of pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._sample_mean import SampleMean
from ignite.metrics._transform import whole

__all__ = ["MeanPairwiseDistance"]


class MeanPairwiseDistance(SampleMean):
    """Mean over samples of the distance between prediction and target, as :class:`torch.nn.PairwiseDistance` has it.

    `update` takes `(y_pred, y)` of one shape (N, F).

    Args:
        p: the norm's degree.
        eps: is added to each difference, against division by zero.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> metric = MeanPairwiseDistance(p=1)
        >>> metric.update((torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]])))
        >>> round(metric.compute(), 4)
        2.0
    """

    _state_dict_all_req_keys = ("_sum_of_distances", "_num_examples")

    def __init__(
        self,
        p: int = 2,
        eps: float = 1e-6,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(output_transform, device=device, skip_unrolling=skip_unrolling)
        self._p, self._eps = p, eps

    def _sum_and_count(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
        distances = torch.pairwise_distance(prediction, target, p=self._p, eps=self._eps)
        return torch.sum(distances), target.shape[0]
