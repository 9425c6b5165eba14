"""Averages of one variable."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Number
from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric, reinit__is_reduced, sync_all_reduce

__all__ = ["Average", "GeometricAverage", "VariableAccumulation"]


class VariableAccumulation(Metric):
    """Accumulate a variable with an operation.

    `update` takes a number or a tensor. A number and a tensor of shape (F,) count as one sample, a
    tensor of shape (N, F, *) as N.

    Attributes:
        accumulator: what was accumulated, in double precision.
        num_examples: how many samples there were.

    Args:
        op: `f(accumulator, value)`: returns the new accumulator.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Raises:
        TypeError: `op` is not callable.

    Examples:
        >>> total = VariableAccumulation(lambda accumulator, value: accumulator + value)
        >>> total.update(1)
        >>> total.update(2)
        >>> total.compute()
        (tensor(3., dtype=torch.float64), 2)
    """

    required_output_keys = None
    _state_dict_all_req_keys = ("accumulator", "num_examples")

    def __init__(
        self,
        op: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        if not callable(op):
            raise TypeError(f"`op` must be callable with an accumulator and a value, got {op!r}")
        self._op = op
        super().__init__(output_transform=output_transform, device=device, skip_unrolling=skip_unrolling)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self.accumulator = torch.tensor(0.0, dtype=torch.float64, device=self._device)
        self.num_examples = 0

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Accumulate a value.

        Args:
            output: a number or a tensor.

        Raises:
            TypeError: it is neither.
        """
        if not isinstance(output, Number | torch.Tensor):
            raise TypeError(f"the output must be a number or a tensor, got {output!r}")
        value = torch.as_tensor(output).detach().to(device=self._device, dtype=torch.float64)
        self.accumulator = self._op(self.accumulator, value)
        self.num_examples += value.shape[0] if value.dim() > 1 else 1

    @sync_all_reduce("accumulator", "num_examples")
    def compute(self) -> Any:
        """Return what was accumulated.

        Returns:
            The accumulator and the number of samples.
        """
        return self.accumulator, self.num_examples

    def _require_samples(self) -> None:
        if self.num_examples == 0:
            raise NotComputableError(f"{type(self).__name__} needs at least one sample before it is computed")


class Average(VariableAccumulation):
    """Arithmetic mean of a variable.

    `update` takes a number or a tensor. A number and a tensor of shape (F,) count as one sample, a
    tensor of shape (N, F, *) as N.

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> average = Average()
        >>> average.update(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> average.compute()
        tensor([2., 3.], dtype=torch.float64)
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(_add, output_transform=output_transform, device=device, skip_unrolling=skip_unrolling)

    @sync_all_reduce("accumulator", "num_examples")
    def compute(self) -> Any:
        """Return the mean.

        Returns:
            A tensor in double precision.

        Raises:
            NotComputableError: there is no sample yet.
        """
        self._require_samples()
        return self.accumulator / self.num_examples


class GeometricAverage(VariableAccumulation):
    """Geometric mean of a positive variable.

    `update` takes a number or a tensor. A number and a tensor of shape (F,) count as one sample, a
    tensor of shape (N, F, *) as N.

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> average = GeometricAverage()
        >>> average.update(1.0)
        >>> average.update(4.0)
        >>> round(average.compute(), 4)
        2.0
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(_add_log, output_transform=output_transform, device=device, skip_unrolling=skip_unrolling)

    @sync_all_reduce("accumulator", "num_examples")
    def compute(self) -> Any:
        """Return the mean.

        Returns:
            A number, or a tensor in double precision where the variable is a tensor with dimensions.

        Raises:
            NotComputableError: there is no sample yet.
        """
        self._require_samples()
        mean = torch.exp(self.accumulator / self.num_examples)
        return mean.item() if mean.dim() == 0 else mean


def _add(accumulator: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return accumulator + (value.sum(dim=0) if value.dim() > 1 else value)


def _add_log(accumulator: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    return _add(accumulator, torch.log(value))
