"""Averages that follow a value as it changes, without waiting for the device it is on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camshaft.engine import StateDictError
from camshaft.handlers._number import is_number, is_tensor


class RunningAverages:
    """Exponentially weighted averages by name.

    Args:
        decay: weight of the average so far when a new value comes in; the new one gets the rest.

    Examples:
        >>> averages = RunningAverages(decay=0.75)
        >>> averages.update({"loss": 1.0})
        >>> averages.update({"loss": 3.0})
        >>> averages.values()
        {'loss': 1.5}
    """

    def __init__(self, decay: float) -> None:
        self._weight = 1.0 - decay
        self._averages: dict[str, Any] = {}

    def update(self, values: Mapping[str, Any]) -> None:
        """Take in a value for each name: a number, or a tensor with one element."""
        for name, value in values.items():
            average = self._averages.get(name)
            self._averages[name] = self._first(value) if average is None else self._next(average, value)

    def values(self) -> dict[str, float]:
        """Return the averages as numbers; this waits for the device."""
        return {name: float(average) for name, average in self._averages.items()}

    def reset(self) -> None:
        """Forget all averages."""
        self._averages = {}

    def load(self, values: Mapping[str, float]) -> None:
        """Go on from averages as `values` returned them.

        Raises:
            StateDictError: they are not a mapping of names to numbers; nothing is changed then.
        """
        if not isinstance(values, Mapping):
            raise StateDictError(f"`averages` must be a mapping of names to numbers, got {values!r}")
        for name, value in values.items():
            if not isinstance(name, str) or not is_number(value):
                raise StateDictError(f"`averages` must map names to numbers, got {name!r}: {value!r}")
        self._averages = dict(values)

    @staticmethod
    def _first(value: Any) -> Any:
        if not is_tensor(value):
            return float(value)
        wide = value.is_floating_point() and value.element_size() >= 4
        return value.detach().clone() if wide else value.detach().float()

    def _next(self, average: Any, value: Any) -> Any:
        if not is_tensor(value):
            return float(average) + (float(value) - float(average)) * self._weight
        if not is_tensor(average):  # restored: it becomes what it was before it was saved
            average = self._first(value).fill_(average)
        return average.lerp_(value.detach().to(average), self._weight)
