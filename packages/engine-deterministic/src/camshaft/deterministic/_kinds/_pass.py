"""The batches of one pass, as every kind of data gives them out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from camshaft.deterministic._fingerprint import Fingerprint
from camshaft.deterministic._loading._workers import end_workers, find_lost, pids_in, watch_workers, workers_of
from camshaft.deterministic._skip import Skip, next_kept
from camshaft.engine import LookAhead, Peekable, Position


class Counter(Protocol):
    """What knows what some objects count, such as `ObjectMemory`."""

    def read_counts(self) -> Any:
        """Return what they count, before a fetch."""

    def note_fetched(self, counts: Any) -> None:
        """Note what the fetch has changed."""

    def put_counts_back(self, counts: Any) -> None:
        """Take that back."""


class Early(NamedTuple):
    """How a batch is fetched before it is asked for.

    That must change nothing for anybody else. So it must not draw from the generators of the process: what runs until
    the batch is asked for may draw from them, too.

    Attributes:
        read_place: returns what says where the data stands, if only the data knows, and what it remembers.
        note_fetched: called with that after the fetch.
        put_back: called with it, if the batch is not asked for after all.
    """

    read_place: Callable[[], Any] = lambda: None
    note_fetched: Callable[[Any], object] = lambda place: None
    put_back: Callable[[Any], object] = lambda place: None


def counting(memory: Counter) -> Early:
    """Return how a batch is fetched early from data that counts by itself."""
    return Early(memory.read_counts, memory.note_fetched, memory.put_counts_back)


class Pass(Peekable):
    """An iterator over the batches of a pass that knows how far it has come, and says so when it fails.

    Attributes:
        data_pass: its number.
        given: how many batches of the pass are done with, those before it was opened included.
        has_drawn: whether a batch was asked for since it was opened.
        has_ended: whether it was asked for more batches than there are.

    Args:
        batches: the batches still to come.
        position: where the pass was opened.
        has_ended: as the attribute, at the beginning.
        loader_iterator: torch's own iterator, if there is one that may have workers.
        keeps_last_from: number of the batch from which on a hash of the last one is kept for `last`; None for never.
        skip: batches that `batches` leaves out.
        early: how a batch is fetched early; None where it must not be.
    """

    def __init__(
        self,
        batches: Iterator[Any],
        position: Position,
        *,
        has_ended: bool = False,
        loader_iterator: Iterator[Any] | None = None,
        keeps_last_from: int | None = None,
        skip: Skip = frozenset(),
        early: Early | None = None,
    ) -> None:
        self.given = position.batch if position.pass_open else 0
        self.has_drawn = False
        self.has_ended = has_ended
        self._batches = iter(()) if has_ended else batches
        self.data_pass = position.data_pass
        self._loader_iterator = loader_iterator
        self._keeps_last_from = sys.maxsize if keeps_last_from is None else keeps_last_from
        self._skip = skip
        self._early = early
        self._last: Fingerprint | None = None
        self._noted: Fingerprint | None = None
        self._notes_next = False
        if workers_of(loader_iterator):
            watch_workers(self)

    def __next__(self) -> Any:
        self.has_drawn = True
        last, self._last = self._last, None  # a failed fetch has none
        try:
            batch = next(self._batches)
        except StopIteration:
            self.has_ended, self._last = True, last
            raise
        except Exception as error:
            self._explain(error, self._place())
            raise
        self.given = self._next_number() + 1
        if self.given > self._keeps_last_from:
            self._last = Fingerprint(batch)
            if self._notes_next:
                self._noted, self._notes_next = self._last, False
        return batch

    def note_next(self) -> None:
        """Keep a hash of the next batch, for `noted`."""
        self._noted, self._notes_next = None, True

    def noted(self) -> str | None:
        """Return a hash of the batch that was to be noted, None if it has not been given yet or was changed since."""
        return None if self._noted is None else self._noted.text()

    def peek(self) -> tuple[Any, ...]:
        """Fetch the next batch early, where that is possible; it counts when it is given out."""
        if self._early is None:
            return ()
        if not isinstance(self._batches, LookAhead):
            self._batches = LookAhead(self._batches, self._early.read_place)
        was_ahead, found = self._batches.is_ahead, self._batches.peek()
        if self._batches.is_ahead and not was_ahead:
            self._early.note_fetched(self._batches.kept)
        return found

    def place(self) -> Any:
        """Return where the data stands behind the batch given last, as `Early.read_place` does."""
        early = Early() if self._early is None else self._early
        batches = self._batches
        return batches.kept if isinstance(batches, LookAhead) and batches.is_ahead else early.read_place()

    def give_up(self) -> None:
        """Take back that a batch was fetched early: nobody asks for it any more."""
        batches = self._batches
        if isinstance(batches, LookAhead) and batches.is_ahead and self._early is not None:
            self._early.put_back(batches.kept)
            self._batches = iter(())

    def rehearse(self, name: str | None = None) -> None:
        """Fetch a batch that nobody asks for, for what the fetch leaves behind.

        So nobody asks for its error either, unless it tells that a worker is gone.

        Args:
            name: what it is called in errors, if it is not of this pass.
        """
        try:
            next(self._batches, None)
        except Exception as error:
            self._explain(error, self._compared(name))
            if pids_in(error):
                raise

    def repeat_last(self, name: str | None = None) -> bool:
        """Fetch the batch before the place where the pass was opened, which `batches` begin with, for `last`.

        It is not given out and does not count.

        Args:
            name: what it is called in errors, if it is not of this pass.

        Returns:
            Whether there is such a batch.
        """
        try:
            self._last = Fingerprint(next(self._batches))
        except StopIteration:
            return False
        except Exception as error:
            self._explain(error, self._compared(name))
            raise
        return True

    def last(self) -> str | None:
        """Return a hash of the batch given last, None where it is not known or was changed since."""
        return None if self._last is None else self._last.text()

    def note_lost_workers(self, error: BaseException) -> None:
        """Add to torch's error about lost workers which of them they were, and how far the pass had come."""
        numbers = {worker.pid: number for number, worker in enumerate(workers_of(self._loader_iterator))}
        for pid in pids_in(error):
            note = f"worker {numbers.get(pid)} of {len(numbers)} was lost; the next batch is {self._place()}"
            if pid in numbers and note not in getattr(error, "__notes__", ()):
                error.add_note(note)

    def close(self) -> None:
        """Let go of the batches, and end the workers."""
        end_workers(self._loader_iterator)
        self._batches, self._loader_iterator, self._last = iter(()), None, None

    def _explain(self, error: Exception, place: str) -> None:
        """Name the place in the error of a fetch; where it only means that a worker was lost, raise that."""
        error.add_note(f"while the run waited for {place}")
        lost = find_lost(error, self._loader_iterator)
        self.note_lost_workers(lost or error)
        if lost is not None:
            raise lost from error

    def _next_number(self) -> int:
        return next_kept(self._skip, self.data_pass, self.given) if self._skip else self.given

    def _compared(self, name: str | None) -> str:
        return f"{name or f'batch {self.given - 1} of pass {self.data_pass}'}, to compare it"

    def _place(self) -> str:
        return f"batch {self._next_number()} of pass {self.data_pass}"
