"""The maximum absolute error."""

from __future__ import annotations

from typing import Any

from ignite.exceptions import NotComputableError
from ignite.metrics.metric import Metric, reinit__is_reduced, sync_all_reduce
from ignite.metrics.regression._checked import checked

__all__ = ["MaximumAbsoluteError"]


class MaximumAbsoluteError(Metric):
    """Greatest absolute error of a sample.

    `update` takes `(y_pred, y)`, both of shape (N,) or both of shape (N, 1).

    Args:
        output_transform, device, skip_unrolling, metrics_result_mode: as :class:`Metric` takes them.

    Examples:
        >>> import torch
        >>> metric = MaximumAbsoluteError()
        >>> metric.update((torch.tensor([1.0, 4.0]), torch.tensor([2.0, 7.0])))
        >>> metric.compute()
        3.0
    """

    _state_dict_all_req_keys = ("_max_of_absolute_errors",)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self._max_of_absolute_errors = -1.0

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Look for a greater error in a batch.

        Args:
            output: predictions and targets, of shape (N,) or (N, 1).

        Raises:
            ValueError: the shapes do not fit.
            TypeError: a type is not a floating-point one.
        """
        prediction, target = checked(output)
        if len(target):
            error = (target - prediction).abs().max().item()
            self._max_of_absolute_errors = max(self._max_of_absolute_errors, error)

    @sync_all_reduce("_max_of_absolute_errors:MAX")
    def compute(self) -> float:
        """Return the greatest error.

        Returns:
            The greatest error of all samples.

        Raises:
            NotComputableError: there is no sample yet.
        """
        if self._max_of_absolute_errors < 0:
            raise NotComputableError("MaximumAbsoluteError needs at least one sample before it is computed")
        return self._max_of_absolute_errors
