"""What metrics that are means over samples share: a sum, a number of samples, their quotient."""

from __future__ import annotations

from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._sharing import reduced
from ignite.metrics.metric import Metric, reinit__is_reduced


class SampleMean(Metric):
    """Base of means over samples.

    A derived class says in `_sum_and_count` what a batch adds, and in `_state_dict_all_req_keys`
    under which names the sum and the number are kept.
    """

    _dtype = torch.float32

    def _sum_and_count(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
        """Return the sum over the samples of a batch, and their number."""
        raise NotImplementedError

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        sum_name, count_name = self._state_dict_all_req_keys
        setattr(self, sum_name, torch.tensor(0.0, dtype=self._dtype, device=self._device))
        setattr(self, count_name, 0)

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add the samples of a batch.

        Args:
            output: predictions and targets.
        """
        total, count = self._sum_and_count(output[0].detach(), output[1].detach())
        sum_name, count_name = self._state_dict_all_req_keys
        setattr(self, sum_name, getattr(self, sum_name) + total.to(self._device))
        setattr(self, count_name, getattr(self, count_name) + count)

    def compute(self) -> float:
        """Return the mean.

        Returns:
            The mean over all samples.

        Raises:
            NotComputableError: there is no sample yet.
        """
        sum_name, count_name = self._state_dict_all_req_keys
        total, count = reduced(getattr(self, sum_name), sum_name), reduced(getattr(self, count_name), count_name)
        if count == 0:
            raise NotComputableError(f"{type(self).__name__} needs at least one sample before it is computed")
        return float(total.item() / count)


def require_same_type(prediction: torch.Tensor, target: torch.Tensor) -> None:
    """Refuse predictions and targets of different types or shapes.

    Args:
        prediction, target: of shape (N, *).

    Raises:
        TypeError: the dtypes differ.
        ValueError: the shapes differ.
    """
    if prediction.dtype != target.dtype:
        raise TypeError(f"`y_pred` and `y` must have one dtype, got {prediction.dtype} and {target.dtype}")
    if prediction.shape != target.shape:
        raise ValueError(
            f"`y_pred` and `y` must have one shape, got {tuple(prediction.shape)} and {tuple(target.shape)}"
        )


def require_classes(scores: torch.Tensor, name: str = "y_pred") -> None:
    """Refuse scores without a dimension of classes.

    Args:
        scores: of shape (N, C, *).
        name: what they are called.

    Raises:
        ValueError: they have no such dimension.
    """
    if scores.dim() < 2:
        raise ValueError(f"`{name}` must have the shape (N, C, *), got {tuple(scores.shape)}")


def at_least_single(values: torch.Tensor) -> torch.Tensor:
    """Return values in single precision if they have half of it."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def class_rows(scores: torch.Tensor) -> torch.Tensor:
    """Return scores of shape (N, C, *) as rows, (N * everything behind C, C), in single precision at least."""
    return at_least_single(scores).movedim(1, -1).reshape(-1, scores.shape[1])


def median(values: torch.Tensor) -> float:
    """Return the median of all values: for an even number of them the mean of the two in the middle.

    Args:
        values: of any shape.

    Returns:
        The median.
    """
    ordered = values.flatten().sort().values
    middle = ordered[[(len(ordered) - 1) // 2, len(ordered) // 2]]
    return float(middle.mean().item())
