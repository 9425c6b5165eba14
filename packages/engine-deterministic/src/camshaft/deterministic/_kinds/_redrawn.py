"""Passes that are drawn again from their start, on streams of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from camshaft.deterministic._counts import Counts
from camshaft.deterministic._kinds._kind import Setting, entries_of, without_empty
from camshaft.deterministic._kinds._pass import Pass
from camshaft.engine import Position


class Started(NamedTuple):
    """A pass at its beginning.

    Attributes:
        batches: its batches.
        loader_iterator: torch's own iterator, if it was made already and may have workers.
    """

    batches: Iterator[Any]
    loader_iterator: Iterator[Any] | None = None


class RedrawnPasses:
    """The passes over data that cannot be opened in their middle: the batches before are drawn and dropped.

    The last of them is compared with what the saved run saw, so that data which comes out differently is told.

    Args:
        start: begins the pass of a number.
        counts: numbers that the data counts by itself.
        setting: what the passes depend on.
    """

    def __init__(self, start: Callable[[int], Started], counts: Counts, setting: Setting) -> None:
        self._start = start
        self._counts = counts
        self._setting = setting
        self._opened: Pass | None = None
        self._at_start: dict[str, Any] = {}  # the counts, as the pass began

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches still to come."""
        saved = entries_of(position.data_state)
        self._counts.restore(saved.get("counts", {}))
        self._at_start = self._counts.changed()
        if position.pass_open and saved.get("has_ended"):
            self._opened = Pass(iter(()), position, has_ended=True)
            return self._opened
        batches, loader_iterator = self._start(position.data_pass)
        at_start = position._replace(batch=0)
        self._opened = Pass(batches, at_start, loader_iterator=loader_iterator, keeps_last=True)
        if position.pass_open:
            skip_exactly(self._opened, position.batch, self._setting.report)
            compare_last(self._opened, saved.get("last"), self._setting.report)
        return self._opened

    def state(self, position: Position) -> Any:
        """Return whether the pass has ended, a hash of the last batch, and what the data counts."""
        opened = self._opened
        if opened is None:
            return position.data_state
        if not position.pass_open:
            return without_empty(counts=self._counts.changed())
        last = None if position.holds_batch else opened.last()
        return without_empty(counts=self._at_start, has_ended=opened.has_ended, last=last)

    def close(self) -> None:
        """End the pass, and its workers."""
        if self._opened is not None:
            self._opened.close()


def skip(iterator: Iterator[Any], count: int) -> int:
    """Draw and drop `count` batches; return how many there were."""
    return sum(1 for _ in islice(iterator, count))


def skip_exactly(iterator: Iterator[Any], count: int, report: Callable[..., None]) -> None:
    """Draw and drop `count` batches; report it if there are fewer."""
    drawn = skip(iterator, max(0, count))
    if drawn < count:
        report({"batches": (f"at least {count}", drawn)})


def compare_last(opened: Pass, expected: str | None, report: Callable[..., None]) -> None:
    """Report it if the batch drawn last is not the one that the saved run saw there."""
    last = opened.last()
    if expected is not None and last is not None and last != expected:
        report({f"batch {opened.given - 1}, drawn again": (expected, last)})
