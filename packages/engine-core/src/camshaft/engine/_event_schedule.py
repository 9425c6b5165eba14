"""When is a filtered event due: pure functions of its counter.

A schedule answers one question, `next_due(value)`: the smallest counter value, at or after
`value`, at which it is due. That single answer lets the loop know how many iterations it may
run without looking at any handler.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from camshaft.engine._errors import ArgumentError
from camshaft.engine._value import as_integer


class Schedule(Protocol):
    """Decides by a counter value alone; hashable, so that equal schedules are asked once."""

    def next_due(self, value: int) -> int | None:
        """Return the smallest due value that is not below `value`, None when there is none."""

    def __call__(self, engine: Any, value: int) -> bool:
        """Return whether `value` is due, in the form of an event filter."""


class Periodic(NamedTuple):
    """Due at `start`, `start + step`, ... below `stop` (None: for ever).

    Examples:
        >>> schedule = Periodic(start=1, step=3, stop=10)
        >>> [value for value in range(12) if schedule(None, value)]
        [1, 4, 7]
    """

    start: int
    step: int = 1
    stop: int | None = None

    def next_due(self, value: int) -> int | None:
        """Return the smallest due value that is not below `value`, None when there is none."""
        if value <= self.start:
            due = self.start
        else:
            due = value + (self.start - value) % self.step
        return due if self.stop is None or due < self.stop else None

    def __call__(self, engine: Any, value: int) -> bool:
        """Return whether `value` is due."""
        return self.next_due(value) == value


class Once(NamedTuple):
    """Due exactly at the given values, which are sorted and unique.

    Examples:
        >>> Once((2, 5)).next_due(3)
        5
    """

    values: tuple[int, ...]

    def next_due(self, value: int) -> int | None:
        """Return the smallest due value that is not below `value`, None when there is none."""
        place = bisect_left(self.values, value)
        return self.values[place] if place < len(self.values) else None

    def __call__(self, engine: Any, value: int) -> bool:
        """Return whether `value` is due."""
        return value in self.values


def make_schedule(every: object = None, once: object = None, before: object = None, after: object = None) -> Schedule:
    """Turn the arguments of a filtered event into a schedule.

    Args:
        every: the period, at least 1.
        once: one value, or several; each at least 1.
        before: the first value that is not due any more, at least 0.
        after: the last value that is not due yet, at least 0.

    Raises:
        ArgumentError: an argument is out of its range, or `once` is mixed with others.

    Examples:
        >>> make_schedule(every=3, before=10)
        Periodic(start=1, step=3, stop=10)
    """
    if once is not None:
        if every is not None or before is not None or after is not None:
            raise ArgumentError("`once` must stand alone, got it together with `every`, `before` or `after`")
        values: Iterable[object] = once if isinstance(once, Iterable) else (once,)
        due = sorted({as_integer("once", value, least=1) for value in values})
        if not due:
            raise ArgumentError(f"`once` must name at least one value, got {once!r}")
        return Once(tuple(due))
    step = 1 if every is None else as_integer("every", every, least=1)
    stop = None if before is None else as_integer("before", before, least=0)
    if after is not None:
        return Periodic(as_integer("after", after, least=0) + 1, step, stop)
    # `every` alone counts from 0 (value % n == 0); inside a window it counts from the first value.
    return Periodic(1 if before is not None and every is not None else 0, step, stop)
