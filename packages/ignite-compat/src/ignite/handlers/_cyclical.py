"""Schedules that repeat."""

from __future__ import annotations

import math
from typing import Any

from camshaft.engine import ArgumentError
from ignite.handlers._annotations import AnyEngine
from ignite.handlers._scheduler import ParamScheduler


class CyclicalScheduler(ParamScheduler):
    """Base class of schedules that repeat; a derived class says in `get_param` what a cycle looks like.

    Args:
        optimizer: an optimizer, or anything with a list `param_groups`.
        param_name: key in the parameter groups.
        start_value: value at the cycle's start.
        end_value: value at the middle or the end of the cycle.
        cycle_size: events in a cycle, at least 2.
        cycle_mult: factor of the size of each next cycle, and of its warm-up.
        start_value_mult: factor of the start value of each next cycle.
        end_value_mult: factor of the end value of each next cycle.
        warmup_duration: events between two cycles in which the value goes linearly from the end of
            one to the start of the next.
        save_history: whether values are collected in `engine.state.param_history`.
        param_group_index: the only group to set; None for all.

    Raises:
        ValueError: `cycle_size` is below 2.
    """

    def __init__(
        self,
        optimizer: Any,
        param_name: str,
        start_value: float,
        end_value: float,
        cycle_size: int,
        cycle_mult: float = 1.0,
        start_value_mult: float = 1.0,
        end_value_mult: float = 1.0,
        warmup_duration: int = 0,
        save_history: bool = False,
        param_group_index: int | None = None,
    ) -> None:
        super().__init__(optimizer, param_name, save_history=save_history, param_group_index=param_group_index)
        self.start_value = start_value
        self.end_value = end_value
        self.cycle_size = cycle_size
        self.cycle_mult = cycle_mult
        self.cycle = 0
        self.start_value_mult = start_value_mult
        self.end_value_mult = end_value_mult
        self.warmup_duration = warmup_duration
        self.total_cycle_size = warmup_duration + cycle_size
        if cycle_size < 2:
            raise ArgumentError(f"`cycle_size` must be at least 2, got {cycle_size!r}")
        self._state_attrs += [
            "start_value", "end_value", "cycle_size", "cycle_mult", "cycle", "start_value_mult", "end_value_mult",
            "warmup_duration", "total_cycle_size",
        ]  # fmt: skip

    def __call__(self, engine: AnyEngine | None, name: str | None = None) -> None:
        """Set the parameter for the current event, and count it.

        Args:
            engine: whose state keeps the history.
            name: key of the history; None for the parameter's name.
        """
        if self.event_index > 0 and self.event_index % self.total_cycle_size == 0:
            self._begin_cycle()
        super().__call__(engine, name)

    def _begin_cycle(self) -> None:
        self.event_index = 0
        self.cycle += 1
        self.cycle_size = int(self.cycle_size * self.cycle_mult)
        self.warmup_duration = int(self.warmup_duration * self.cycle_mult)
        self.total_cycle_size = self.warmup_duration + self.cycle_size
        self.start_value *= self.start_value_mult
        self.end_value *= self.end_value_mult

    def _warmup_value(self) -> float | None:
        """Return the value between two cycles, None inside of one."""
        if self.event_index <= self.cycle_size:
            return None
        done = (self.event_index - self.cycle_size) / self.warmup_duration
        return self.end_value + (self.start_value * self.start_value_mult - self.end_value) * done


class LinearCyclicalScheduler(CyclicalScheduler):
    """Go linearly from the start value to the end value, and back again in the cycle's second half.

    Args:
        args: of :class:`CyclicalScheduler`.
        monotonic: only go from start to end, then jump back to the start.
        kwargs: of :class:`CyclicalScheduler`; `warmup_duration` needs `monotonic=True`.

    Raises:
        ValueError: `cycle_size` is below 2, or `warmup_duration` is given without `monotonic`.

    Examples:
        >>> LinearCyclicalScheduler.simulate_values(5, param_name="lr", start_value=1.0, end_value=0.0, cycle_size=4)
        [[0, 1.0], [1, 0.5], [2, 0.0], [3, 0.5], [4, 1.0]]
    """

    def __init__(self, *args: Any, monotonic: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.monotonic = monotonic
        if self.warmup_duration > 0 and not monotonic:
            raise ArgumentError(
                f"`warmup_duration` must be 0 when the value goes back to its start, got {self.warmup_duration!r}; "
                "give monotonic=True"
            )

    def get_param(self) -> float:
        """Return the value for the current event."""
        warmup = self._warmup_value()
        if warmup is not None:
            return warmup
        progress = self.event_index / self.cycle_size
        if self.monotonic:
            return self.start_value + (self.end_value - self.start_value) * progress
        share = abs(progress - 0.5) * 2
        return self.end_value + (self.start_value - self.end_value) * share


class CosineAnnealingScheduler(CyclicalScheduler):
    """Go from the start value to the end value along half a wave of the cosine, in each cycle.

    Arguments as for :class:`CyclicalScheduler`.

    Examples:
        >>> values = CosineAnnealingScheduler.simulate_values(
        ...     5, param_name="lr", start_value=0.0, end_value=1.0, cycle_size=4
        ... )
        >>> [round(value, 4) for _, value in values]
        [0.0, 0.1464, 0.5, 0.8536, 0.0]

    Sources:
        L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017.
    """

    def get_param(self) -> float:
        """Return the value for the current event."""
        warmup = self._warmup_value()
        if warmup is not None:
            return warmup
        progress = self.event_index / self.cycle_size
        return self.start_value + ((self.end_value - self.start_value) / 2) * (1 - math.cos(math.pi * progress))
