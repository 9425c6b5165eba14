"""Pearson's correlation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric, reinit__is_reduced, sync_all_reduce
from ignite.metrics.regression._checked import checked

__all__ = ["PearsonCorrelation"]


class PearsonCorrelation(Metric):
    """Pearson's correlation of predictions and targets.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        eps: least product of the deviations, against division by zero.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> metric = PearsonCorrelation()
        >>> metric.update((torch.tensor([1.0, 4.0, 2.0]), torch.tensor([2.0, 5.0, 4.0])))
        >>> round(metric.compute(), 4)
        0.9286
    """

    _state_dict_all_req_keys = (
        "_sum_of_y_preds",
        "_sum_of_ys",
        "_sum_of_y_pred_squares",
        "_sum_of_y_squares",
        "_sum_of_products",
        "_num_examples",
    )

    def __init__(
        self,
        eps: float = 1e-8,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(output_transform, device=device, skip_unrolling=skip_unrolling)
        self.eps = eps

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        for name in self._state_dict_all_req_keys[:-1]:
            setattr(self, name, torch.tensor(0.0, dtype=torch.float64, device=self._device))
        self._num_examples = 0

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add the sums over a batch.

        Args:
            output: predictions and targets, of shape (N,) or (N, 1).

        Raises:
            ValueError: the shapes do not fit.
            TypeError: a type is not a floating-point one.
        """
        prediction, target = (each.to(self._device).double() for each in checked(output))
        values = (prediction, target, prediction**2, target**2, prediction * target)
        for name, value in zip(self._state_dict_all_req_keys[:-1], values, strict=True):
            setattr(self, name, getattr(self, name) + value.sum())
        self._num_examples += target.shape[0]

    @sync_all_reduce(*_state_dict_all_req_keys)
    def compute(self) -> float:
        """Return the correlation.

        Returns:
            A number from -1 to 1.

        Raises:
            NotComputableError: there is no sample yet.
        """
        count = self._num_examples
        if count == 0:
            raise NotComputableError("PearsonCorrelation needs at least one sample before it is computed")
        first, second, first_squares, second_squares, products = (
            getattr(self, name) / count for name in self._state_dict_all_req_keys[:-1]
        )
        covariance = products - first * second
        variances = (first_squares - first**2).clamp(min=0.0) * (second_squares - second**2).clamp(min=0.0)
        return float((covariance / variances.sqrt().clamp(min=self.eps)).item())
