"""Metrics in several processes: what each of them counted becomes one result."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

import ignite.distributed as idist

Method = TypeVar("Method", bound=Callable[..., Any])

OPERATIONS = ("SUM", "PRODUCT", "MIN", "MAX")


def reinit__is_reduced(func: Method) -> Method:
    """Mark `reset` and `update` of a metric: what was reduced over the processes before is out of date.

    Args:
        func: the method.

    Returns:
        The method, which also makes the metric forget that it was reduced.
    """

    @functools.wraps(func)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = func(self, *args, **kwargs)
        self._is_reduced = False  # the attribute is Ignite's, and people's own metrics read it
        if "_result" in self.__dict__:
            self._result = None
        return result

    return cast("Method", wrapper)


def sync_all_reduce(*attrs: str) -> Callable[[Method], Method]:
    """Mark `compute` of a metric: name the attributes that all processes share while it computes.

    The attributes have the reduced values while the method runs, and this process's own after it.
    In a single process nothing changes.

    Args:
        attrs: names of attributes that are numbers or tensors, each with an operation behind a
            colon: "SUM" (the default), "PRODUCT", "MIN" or "MAX".

    Returns:
        The decorator.

    Raises:
        ValueError: at the call: the operation is unknown, or the metric has no such attribute.
        TypeError: at the call: an attribute is no number and no tensor.

    Examples:
        >>> from ignite.metrics import Metric
        >>> class Mean(Metric):
        ...     @reinit__is_reduced
        ...     def reset(self):
        ...         self._sum, self._n = torch.tensor(0.0), 0
        ...     @reinit__is_reduced
        ...     def update(self, output):
        ...         self._sum, self._n = self._sum + output.sum(), self._n + len(output)
        ...     @sync_all_reduce("_sum", "_n:SUM")
        ...     def compute(self):
        ...         return self._sum / self._n
        >>> mean = Mean()
        >>> mean.update(torch.tensor([1.0, 2.0]))
        >>> mean.compute()
        tensor(1.5000)
    """

    def wrap(func: Method) -> Method:
        @functools.wraps(func)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            from ignite.metrics.metric import Metric

            if not isinstance(self, Metric):
                message = f"`sync_all_reduce` must decorate a method of a Metric, got one of {self!r}"
                raise RuntimeError(message)  # noqa: TRY004  # what Ignite raises
            if not attrs or self._is_reduced or idist.get_world_size() == 1:
                return func(self, *args, **kwargs)
            own = {}
            try:
                for attr in attrs:
                    name, operation = _split(attr)
                    own[name] = _attribute(self, name)
                    setattr(self, name, reduced(own[name], name, operation))
                self._is_reduced = True
                return func(self, *args, **kwargs)
            finally:
                self._is_reduced = False
                for name, value in own.items():
                    setattr(self, name, value)

        return cast("Method", wrapper)

    return wrap


def _split(attr: str) -> tuple[str, str]:
    name, _, operation = attr.partition(":")
    operation = operation or "SUM"
    if operation not in OPERATIONS:
        raise ValueError(f"a reduction must be one of {OPERATIONS}, got {operation!r} in {attr!r}")
    return name, operation


def _attribute(metric: Any, name: str) -> Any:
    if name not in vars(metric):
        raise ValueError(f"`sync_all_reduce` must name attributes of the metric, got {name!r}")
    return getattr(metric, name)


def reduced(value: Any, name: str, operation: str = "SUM") -> Any:
    """Return what becomes of a value when all processes put theirs together; in one process, the value.

    Args:
        value: a number, or a tensor of one shape in all processes; stays as it is.
        name: what it is called.
        operation: "SUM", "PRODUCT", "MIN" or "MAX".

    Returns:
        The reduced value.

    Raises:
        TypeError: it is no number and no tensor.
    """
    if not isinstance(value, torch.Tensor | int | float):
        raise TypeError(f"attribute {name!r} must be a number or a tensor to be reduced, got {value!r}")
    if idist.get_world_size() == 1:
        return value
    # A copy of a tensor, since the backend reduces in place.
    return idist.all_reduce(value.clone() if isinstance(value, torch.Tensor) else value, op=operation)


def gathered(value: Any) -> list[Any]:
    """Return the value that each process has, in the order of their ranks.

    Args:
        value: anything that can be pickled; tensors may differ in shape between processes.

    Returns:
        One value per process; tensors, and those in tuples, are on the CPU.
    """
    if idist.get_world_size() == 1:
        return [value]
    values: list[Any] = [None] * idist.get_world_size()
    dist.all_gather_object(values, _on_cpu(value))
    return values


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.cpu()
    return tuple(_on_cpu(each) for each in value) if isinstance(value, tuple) else value


def summed(value: Any) -> Any:
    """Return the sum over the processes, also where some have counted nothing yet: their number 0 goes with any shape.

    Args:
        value: a number or a tensor.

    Returns:
        The sum; a tensor is on the device of `value`.
    """
    if idist.get_world_size() == 1:
        return value
    total = sum(gathered(value))
    return total.to(value.device) if isinstance(value, torch.Tensor) and isinstance(total, torch.Tensor) else total
