"""The geometric mean relative absolute error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._transform import whole
from ignite.metrics.epoch_metric import EpochMetric
from ignite.metrics.metric import reinit__is_reduced
from ignite.metrics.regression._checked import checked

__all__ = ["GeometricMeanRelativeAbsoluteError"]


class GeometricMeanRelativeAbsoluteError(EpochMetric):
    """Geometric mean over samples of the absolute error over the target's distance from the mean target.

    All predictions are kept in memory.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> metric = GeometricMeanRelativeAbsoluteError()
        >>> metric.update((torch.tensor([1.0, 4.0, 2.0]), torch.tensor([2.0, 5.0, 4.0])))
        >>> round(metric.compute(), 4)
        1.3925
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(
            _mean,
            output_transform=output_transform,
            check_compute_fn=False,
            device=device,
            skip_unrolling=skip_unrolling,
        )

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


def _mean(predictions: torch.Tensor, targets: torch.Tensor) -> float:
    errors = (targets - predictions).abs() / (targets - targets.mean()).abs()
    return errors.log().mean().exp().item()
