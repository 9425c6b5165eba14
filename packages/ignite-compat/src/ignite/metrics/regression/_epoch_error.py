"""What metrics of regression that need all predictions of an epoch share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._epoch_function import EpochFunction
from ignite.metrics._transform import whole
from ignite.metrics.epoch_metric import EpochMetric
from ignite.metrics.metric import reinit__is_reduced
from ignite.metrics.regression._checked import checked


class EpochError(EpochFunction):
    """Base of errors over all predictions at once, whose function is not tried with the first batch.

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(output_transform, device=device, skip_unrolling=skip_unrolling)


class CheckedEpoch(EpochMetric):
    """Base of epoch metrics that take one number per sample, of a floating-point type."""

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Keep the predictions and targets of a batch.

        Args:
            output: predictions and targets, of shape (N,) or (N, 1).

        Raises:
            ValueError: the shapes do not fit.
            TypeError: a type is not a floating-point one.
        """
        super().update(checked(output))
