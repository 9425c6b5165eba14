"""Metrics in expressions: what is computed from metrics is a metric."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ignite.metrics.metrics_lambda import MetricsLambda


def _lambda(function: Callable[..., Any], *args: Any, **kwargs: Any) -> MetricsLambda:
    from ignite.metrics.metrics_lambda import MetricsLambda

    return MetricsLambda(function, *args, **kwargs)


class MetricArithmetic:
    """Operators between metrics and numbers, indices, and the methods of a metric's result.

    Each makes a new metric, which is computed from this one: `(precision * recall).mean()`.
    """

    def __add__(self, other: Any) -> MetricsLambda:
        return _lambda(operator.add, self, other)

    def __radd__(self, other: Any) -> MetricsLambda:
        return _lambda(operator.add, other, self)

    def __sub__(self, other: Any) -> MetricsLambda:
        return _lambda(operator.sub, self, other)

    def __rsub__(self, other: Any) -> MetricsLambda:
        return _lambda(operator.sub, other, self)

    def __mul__(self, other: Any) -> MetricsLambda:
        return _lambda(operator.mul, self, other)

    def __rmul__(self, other: Any) -> MetricsLambda:
        return _lambda(operator.mul, other, self)

    def __pow__(self, other: Any) -> MetricsLambda:
        return _lambda(operator.pow, self, other)

    def __rpow__(self, other: Any) -> MetricsLambda:
        return _lambda(operator.pow, other, self)

    def __mod__(self, other: Any) -> MetricsLambda:
        return _lambda(operator.mod, self, other)

    def __truediv__(self, other: Any) -> MetricsLambda:
        return _lambda(operator.truediv, self, other)

    def __rtruediv__(self, other: Any) -> MetricsLambda:
        return _lambda(operator.truediv, other, self)

    def __floordiv__(self, other: Any) -> MetricsLambda:
        return _lambda(operator.floordiv, self, other)

    def __getitem__(self, index: Any) -> MetricsLambda:
        return _lambda(operator.itemgetter(index), self)

    def __iter__(self) -> None:
        # Every index makes a metric, so the iteration over one would never end.
        raise TypeError(f"{type(self).__name__} is not iterable; index it")

    def __getattr__(self, name: str) -> Callable[..., MetricsLambda]:
        """Return a method that, called, makes a metric: that method of this metric's result."""
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

        def call(*args: Any, **kwargs: Any) -> MetricsLambda:
            return _lambda(MethodOfResult(name), self, *args, **kwargs)

        return call


class MethodOfResult:
    """Calls one method of what it is given; with a module's name of its own, so it can be pickled.

    Args:
        name: name of the method.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, result: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what the method returns."""
        return getattr(result, self.name)(*args, **kwargs)
