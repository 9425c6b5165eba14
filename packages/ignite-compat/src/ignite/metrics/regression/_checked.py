"""What metrics of regression share: one number per sample, of a floating-point type."""

from __future__ import annotations

from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._sample_mean import SampleMean
from ignite.metrics._sharing import reduced
from ignite.metrics.metric import Metric, reinit__is_reduced

FLOATS = (torch.float16, torch.float32, torch.float64)


def checked(output: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predictions and targets, detached and of shape (N,).

    Args:
        output: predictions and targets, both of shape (N,) or both of shape (N, 1).

    Returns:
        Predictions and targets.

    Raises:
        ValueError: the shapes differ, or there is more than one number per sample.
        TypeError: a dtype is not a floating-point one of 16, 32 or 64 bits.
    """
    prediction, target = output[0].detach(), output[1].detach()
    shapes = f"{tuple(prediction.shape)} and {tuple(target.shape)}"
    if prediction.shape != target.shape:
        raise ValueError(f"`y_pred` and `y` must have one shape, got {shapes}")
    if prediction.dim() not in (1, 2) or prediction.shape[1:] not in ((), (1,)):
        raise ValueError(f"`y_pred` and `y` must have the shape (N,) or (N, 1), got {shapes}")
    for name, values in (("y_pred", prediction), ("y", target)):
        if values.dtype not in FLOATS:
            raise TypeError(f"`{name}` must be of a floating-point type of 16, 32 or 64 bits, got {values.dtype}")
    return prediction.reshape(-1), target.reshape(-1)


def nonzero(target: torch.Tensor) -> torch.Tensor:
    """Return targets that errors are divided by.

    Args:
        target: of shape (N,).

    Returns:
        The same.

    Raises:
        NotComputableError: one of them is 0.
    """
    if (target == 0).any():
        raise NotComputableError("`y` must not be 0 where errors are divided by it")
    return target


class ErrorMean(SampleMean):
    """Base of means over samples of an error.

    A derived class says in `_errors` what that is.
    """

    _state_dict_all_req_keys = ("_sum_of_errors", "_num_examples")

    def _errors(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the error of each sample."""
        raise NotImplementedError

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add the errors of a batch.

        Args:
            output: predictions and targets, of shape (N,) or (N, 1).

        Raises:
            ValueError: the shapes do not fit.
            TypeError: a type is not a floating-point one.
        """
        super().update(checked(output))

    def _sum_and_count(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
        return self._errors(prediction, target).to(self._dtype).sum(), target.shape[0]


class ErrorSum(Metric):
    """Base of sums over samples of an error.

    A derived class says in `_errors` what that is.
    """

    _state_dict_all_req_keys = ("_sum_of_errors",)

    def _errors(self, prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the error of each sample."""
        raise NotImplementedError

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self._sum_of_errors = torch.tensor(0.0, device=self._device)

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add the errors of a batch.

        Args:
            output: predictions and targets, of shape (N,) or (N, 1).

        Raises:
            ValueError: the shapes do not fit.
            TypeError: a type is not a floating-point one.
        """
        self._sum_of_errors = self._sum_of_errors + self._errors(*checked(output)).sum().to(self._device)

    def compute(self) -> float:
        """Return the sum.

        Returns:
            The sum over all samples, 0 without any.
        """
        return float(reduced(self._sum_of_errors, "_sum_of_errors").item())
