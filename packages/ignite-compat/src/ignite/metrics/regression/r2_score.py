"""The coefficient of determination."""

from __future__ import annotations

from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics.metric import Metric, reinit__is_reduced, sync_all_reduce
from ignite.metrics.regression._checked import checked

__all__ = ["R2Score"]


class R2Score(Metric):
    """Share of the targets' variance that the predictions explain.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        output_transform, device, skip_unrolling, metrics_result_mode: as :class:`Metric` takes them.

    Examples:
        >>> metric = R2Score()
        >>> metric.update((torch.tensor([1.0, 4.0, 6.0]), torch.tensor([2.0, 4.0, 6.0])))
        >>> metric.compute()
        0.875
    """

    _state_dict_all_req_keys = ("_num_examples", "_sum_of_errors", "_y_sq_sum", "_y_sum")

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self._num_examples = 0
        self._sum_of_errors, self._y_sq_sum, self._y_sum = (
            torch.tensor(0.0, dtype=torch.float64, device=self._device) for _ in range(3)
        )

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add the errors and targets of a batch.

        Args:
            output: predictions and targets, of shape (N,) or (N, 1).

        Raises:
            ValueError: the shapes do not fit.
            TypeError: a type is not a floating-point one.
        """
        prediction, target = (each.to(self._device).double() for each in checked(output))
        self._num_examples += target.shape[0]
        self._sum_of_errors = self._sum_of_errors + ((target - prediction) ** 2).sum()
        self._y_sq_sum = self._y_sq_sum + (target**2).sum()
        self._y_sum = self._y_sum + target.sum()

    @sync_all_reduce("_num_examples", "_sum_of_errors", "_y_sq_sum", "_y_sum")
    def compute(self) -> float:
        """Return the coefficient.

        Returns:
            1 for predictions without an error, 0 for those that are no better than the mean.

        Raises:
            NotComputableError: there is no sample yet.
            ZeroDivisionError: all targets are the same.
        """
        if self._num_examples == 0:
            raise NotComputableError("R2Score needs at least one sample before it is computed")
        variation = self._y_sq_sum - self._y_sum**2 / self._num_examples
        return 1.0 - self._sum_of_errors.item() / variation.item()
