"""Passes that are drawn again from their start, on streams of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple, Protocol

from camshaft.deterministic._kinds._kind import MEMORY, Setting, entries_of, without_empty
from camshaft.deterministic._kinds._pass import Counter, Pass, counting
from camshaft.deterministic._kinds._pipeline import ThreadWatch
from camshaft.deterministic._memory._kept_iterator import KeptIterators
from camshaft.engine import Position


class Started(NamedTuple):
    """A pass at its beginning.

    Attributes:
        batches: its batches.
        loader_iterator: torch's own iterator, if it was made already and may have workers.
    """

    batches: Iterator[Any]
    loader_iterator: Iterator[Any] | None = None


class Memory(Protocol):
    """What some data remembers from one pass to the next: `ObjectMemory`, or `Samplers`."""

    def begin_pass(self) -> None:
        """Note what is remembered as a pass begins."""

    def at_start(self) -> Any:
        """Return what was remembered then, None for nothing ever."""

    def now(self) -> Any:
        """Return what is remembered now."""

    def restore(self, saved: Any) -> None:
        """Put back what was saved, None for nothing."""

    @property
    def counter(self) -> Counter:
        """What takes back what an early fetch has counted."""


class RedrawnPasses:
    """The passes over data that cannot be opened in their middle: the batches before are drawn and dropped.

    The last of them is compared with what the saved run saw, so that data which comes out differently is told.

    Args:
        start: begins the pass of a number.
        memory: what the data remembers from one pass to the next.
        setting: what the passes depend on.
        threads: notices random numbers that are drawn in threads.
        iterators: those that the data keeps in this process.
    """

    def __init__(
        self,
        start: Callable[[int], Started],
        memory: Memory,
        setting: Setting,
        threads: ThreadWatch | None = None,
        iterators: KeptIterators | None = None,
    ) -> None:
        self._iterators = KeptIterators([], setting.report) if iterators is None else iterators
        self._threads = threads
        self._start = start
        self._memory = memory
        self._setting = setting
        self._opened: Pass | None = None

    def recall(self, state: Any) -> None:
        """Put back what the data remembers between two passes."""
        self._memory.restore(entries_of(state).get(MEMORY))

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches still to come."""
        saved = entries_of(position.data_state)
        if position.pass_open:
            self.recall(saved)
        self._iterators.begin(saved, is_new=self._opened is None, goes_on=position.pass_open)
        self._memory.begin_pass()
        if position.pass_open and saved.get("has_ended"):
            self._opened = Pass(iter(()), position, has_ended=True)
            return self._opened
        batches, loader_iterator = self._start(position.data_pass)
        at_start = position._replace(batch=0)
        early = counting(self._memory.counter)
        self._opened = Pass(batches, at_start, loader_iterator=loader_iterator, keeps_last_from=0, early=early)
        if position.pass_open:
            skip_exactly(self._opened, position.batch, self._setting.report)
            compare_last(self._opened, saved.get("last"), self._setting.report)
        return self._opened

    def state(self, position: Position) -> Any:
        """Return whether the pass has ended, a hash of the last batch, and what the data remembers.

        In a pass that has ended nothing is to be drawn again: then that is what it remembers now.
        """
        opened = self._opened
        if opened is None and position.data_state is not None:
            return position.data_state
        if opened is None or not position.pass_open:
            left = None if opened is None else self._iterators.names()
            return without_empty(memory=self._memory.now(), iterators=left)
        if self._threads is not None:
            self._threads.warn()
        last = None if position.holds_batch else opened.last()
        memory = self._memory.now() if opened.has_ended else self._memory.at_start()
        left = self._iterators.names() if opened.has_ended else self._iterators.at_start
        return without_empty(memory=memory, has_ended=opened.has_ended, last=last, iterators=left)

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


def compare_repeated(
    opened: Pass, fetches: Iterable[bool], expected: str, report: Callable[..., None], name: str | None = None
) -> None:
    """Fetch the batch before a pass that was opened at an index, drop it, and report it if it has changed.

    Args:
        opened: a pass whose batches begin with fetches of that one.
        fetches: for each of them, whether it is compared.
        expected: hash of the batch that the saved run had there.
        report: called with what differs.
        name: what the batch is called in errors, if it is not of this pass.
    """
    found = set()
    for compares in fetches:
        if not compares:
            opened.rehearse(name)
            continue
        if not opened.repeat_last(name):
            report({"batches": (f"at least {opened.given}", opened.given - 1)})
            return
        found.add(opened.last() or expected)
    differing = sorted(found - {expected})
    if differing:
        report({f"{name or f'batch {opened.given - 1}'}, fetched again": (expected, differing[0])})
