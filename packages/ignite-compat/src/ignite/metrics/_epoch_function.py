"""What metrics that apply a function of their own to all predictions of an epoch share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._transform import whole
from ignite.metrics.epoch_metric import EpochMetric


class EpochFunction(EpochMetric):
    """Base of metrics with a function of their own, which a derived class names in `_function`.

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        check_compute_fn: whether the function is tried with the first batch; if it fails, a warning says so.
    """

    _function: Callable[[torch.Tensor, torch.Tensor], Any]

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        check_compute_fn: bool = False,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(
            self._function,
            output_transform=output_transform,
            check_compute_fn=check_compute_fn,
            device=device,
            skip_unrolling=skip_unrolling,
        )


class EpochCurve(EpochFunction):
    """Base of curves over all thresholds."""

    def compute(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the curve.

        Returns:
            Its two coordinates and the thresholds, as tensors in double precision.

        Raises:
            NotComputableError: there is no batch yet.
            ValueError: there are more than two classes.
        """
        curve: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = super().compute()
        return curve
