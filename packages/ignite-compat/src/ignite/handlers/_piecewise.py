"""Straight lines between milestones, shared by the schedulers of optimizers and those of the state."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from camshaft.engine import ArgumentError, ArgumentTypeError, is_integer
from ignite.handlers._scheduler import ParamScheduler


def split_milestones(milestones_values: Any) -> tuple[list[int], list[float]]:
    """Return the milestones and their values, each as a list.

    Raises:
        ArgumentTypeError: it is no sequence, or a milestone is no integer.
        ArgumentError: it is empty, not of pairs, or a milestone is behind the one after it.
    """
    if not isinstance(milestones_values, Sequence):
        raise ArgumentTypeError(f"`milestones_values` must be a list of pairs, got {type(milestones_values)}")
    if not milestones_values:
        raise ArgumentError(f"`milestones_values` must have a pair at least, got {milestones_values!r}")
    milestones: list[int] = []
    values: list[float] = []
    for pair in milestones_values:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ArgumentError(f"`milestones_values` must be a list of pairs (milestone, value), got {pair!r} in it")
        milestone, value = pair
        if not is_integer(milestone):
            raise ArgumentTypeError(f"`milestones_values` must have integers for milestones, got {milestone!r}")
        if milestones and milestone < milestones[-1]:
            raise ArgumentError(f"`milestones_values` must have growing milestones, got {milestones_values!r}")
        milestones.append(milestone)
        values.append(value)
    return milestones, values


def place_of(milestones: Sequence[int], event_index: int) -> int:
    """Return which line an event is on: the place of the milestone that it begins at."""
    return max(0, min(bisect_right(milestones, event_index), len(milestones) - 1) - 1)


def interpolate(milestones: Sequence[int], values: Sequence[float], event_index: int) -> float:
    """Return the value at an event: constant outside of the milestones, linear between them.

    Examples:
        >>> [interpolate([1, 3], [1.0, 0.0], event) for event in range(5)]
        [1.0, 1.0, 0.5, 0.0, 0.0]
    """
    if event_index <= milestones[0]:
        return values[0]
    if event_index >= milestones[-1]:
        return values[-1]
    place = place_of(milestones, event_index)
    begin, end = milestones[place], milestones[place + 1]
    return values[place] + (values[place + 1] - values[place]) * (event_index - begin) / (end - begin)


class PiecewiseLinear(ParamScheduler):
    """Go linearly from milestone to milestone.

    Args:
        optimizer: an optimizer, or anything with a list `param_groups`.
        param_name: key in the parameter groups.
        milestones_values: pairs (event index, value), the indices growing.
        save_history: whether values are collected in `engine.state.param_history`.
        param_group_index: the only group to set; None for all.

    Raises:
        TypeError: a milestone is no integer.
        ValueError: there are no pairs, or milestones go back.

    Examples:
        >>> PiecewiseLinear.simulate_values(4, param_name="lr", milestones_values=[(1, 1.0), (3, 0.0)])
        [[0, 1.0], [1, 1.0], [2, 0.5], [3, 0.0]]
    """

    def __init__(
        self,
        optimizer: Any,
        param_name: str,
        milestones_values: list[tuple[int, float]],
        save_history: bool = False,
        param_group_index: int | None = None,
    ) -> None:
        super().__init__(optimizer, param_name, save_history, param_group_index=param_group_index)
        self.milestones, self.values = split_milestones(milestones_values)
        self._index = 0  # saved because pytorch-ignite looks for it
        self._state_attrs += ["values", "milestones", "_index"]

    def get_param(self) -> float:
        """Return the value for the current event."""
        self._index = place_of(self.milestones, self.event_index)
        return interpolate(self.milestones, self.values, self.event_index)
