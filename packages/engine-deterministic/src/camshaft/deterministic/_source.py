"""Any data, opened at a position: at the start of a pass, or inside it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

from torch.utils.data import DataLoader

from camshaft.deterministic._copy import is_stream
from camshaft.deterministic._data import kind_of, restore_samplers, sampler_states, skip
from camshaft.deterministic._fetch import Seeding
from camshaft.deterministic._loader import Share, SourceCache, choose_seeding, end_workers
from camshaft.deterministic._mismatch import ResumeMismatch
from camshaft.deterministic._rng import seed_everything
from camshaft.deterministic._rng_state import capture_rng, restore_rng
from camshaft.deterministic._seeds import derive_seed
from camshaft.deterministic._stream import OpenedStream, SavingStream, entries_of
from camshaft.engine import EngineWarning, Events, Position

Open: TypeAlias = Callable[[Any, Position], Iterator[Any]]

# Where a run stands with a batch in hand that its position does not count yet.
HOLDING = (Events.ITERATION_STARTED.name, Events.ITERATION_COMPLETED.name)


class DataSource:
    """Opens an engine's data, and knows what has to be saved to open it again.

    Attributes:
        has_ended: whether the present pass has given its last batch, as far as somebody has asked for more.
        is_open: whether data was opened in this run, or in the suspended one that it goes on with.

    Args:
        seeding: how fetches from data sets with indices are seeded, None to choose by the data set.
    """

    def __init__(self, seeding: Seeding | None) -> None:
        self._seeding = seeding
        self._cache = SourceCache()
        self._goes_on = False
        self._workers: Iterator[Any] | None = None  # what has started workers
        self._opened: Opened | None = None  # what has more to save than a position
        self._samplers: dict[str, Any] = {}  # as they were at the start of the pass
        self.has_ended = False
        self.is_open = False

    # ------------------------------------------------------------------ the course of a run

    def begin(self, *, is_new: bool, goes_on: bool) -> None:
        """Note that a run begins.

        Args:
            is_new: it does not continue an earlier one.
            goes_on: it continues in this process, with the same object as its data.
        """
        self._goes_on = goes_on
        if is_new:
            self.leave()
            self.has_ended = False

    def leave(self) -> None:
        """Note that a run has ended, and let go of its data and of all workers."""
        end_workers(self._workers)
        self._workers = self._opened = None
        self._cache.clear()
        self.is_open = False

    def data_state(self, data: Any, *, holds_batch: bool) -> Any:
        """Return what is needed to open the pass again beside its position; None for nothing.

        Args:
            data: the user's data.
            holds_batch: whether a batch was fetched that the position does not count yet.
        """
        if self._opened is not None:
            return self._opened.state_dict(holds_batch=holds_batch)
        kind = kind_of(data)
        if kind == "indexed" and self._samplers:
            return {"samplers": self._samplers}
        return data.state_dict() if kind == "stateful" else None

    def open(self, data: Any, seed: int, position: Position, open_core: Open) -> Iterator[Any]:
        """Return an iterator over the batches still to come.

        At the start of a pass the generators of the process are seeded for it. Inside a pass they
        are left anywhere when data is drawn again, and as they were otherwise.

        Args:
            data: the user's data.
            seed: base seed.
            position: where to open it.
            open_core: how a plain engine opens data.
        """
        self.is_open = True
        self._workers = self._opened = None
        if not position.pass_open:
            self.has_ended = False
            seed_pass(data, seed, position.data_pass)
        kind = kind_of(data)
        if kind == "sequence":
            return open_core(data, position)
        if kind == "indexed":
            iterator = self._open_indexed(data, seed, position)
        elif kind == "stateful":
            iterator = self._open_stateful(data, seed, position, open_core)
        elif kind == "stream":
            iterator = self._open_stream(data, seed, position)
        else:
            iterator = self._open_replayed(data, seed, position, open_core)
        return _Watched(iterator, position, self._note_end)

    # ------------------------------------------------------------------ one way for each kind

    def _open_indexed(self, loader: DataLoader[Any], seed: int, position: Position) -> Iterator[Any]:
        if position.pass_open:
            self._samplers = entries_of(position.data_state).get("samplers", {})
            restore_samplers(loader, self._samplers)
        else:
            self._samplers = sampler_states(loader)
        source = self._cache.get(loader, choose_seeding(loader.dataset, self._seeding))
        self._workers = source.open(loader, seed, position.data_pass, position.batch)
        return self._workers

    def _open_stateful(self, data: Any, seed: int, position: Position, open_core: Open) -> Iterator[Any]:
        if is_stream(data):
            if position.pass_open and self.has_ended:
                return iter(())
            self._opened = stream = SavingStream(data, seed, position)
            self._workers = stream.iterator
            return _draw_again(stream, position.batch - stream.number)
        if position.pass_open and position.data_state is None:
            return self._open_replayed(data, seed, position, open_core)
        if position.pass_open and self.has_ended:
            data.load_state_dict(position.data_state)
            return iter(())  # some data would begin again at once
        return open_core(data, position)

    def _open_stream(self, loader: DataLoader[Any], seed: int, position: Position) -> Iterator[Any]:
        if position.pass_open and self.has_ended and position.data_state is None:
            return iter(())
        self._opened = stream = OpenedStream(loader, seed, position)
        self._workers = stream.iterator
        return _draw_again(stream, position.batch - stream.number)

    def _open_replayed(self, data: Any, seed: int, position: Position, open_core: Open) -> Iterator[Any]:
        if not position.pass_open:
            self._opened = fresh = _Replayed(iter(data))
            return fresh
        if self.has_ended:
            return iter(())
        rng = entries_of(position.data_state).get("rng")
        if self._goes_on and iter(data) is data:  # it stands where the run left it
            self._opened = same = _Replayed(open_core(data, position), rng, has_begun=True)
            return same
        if position.stage in HOLDING:
            warnings.warn(
                f"the run was left with a batch fetched for iteration {position.iteration + 1}: it is drawn again, "
                f"with other random numbers, as {type(data)} has no indices and no state_dict()",
                EngineWarning,
                stacklevel=2,
            )
        seed_pass(data, seed, position.data_pass)
        self._opened = again = _Replayed(iter(data), rng)
        return _draw_again(again, position.batch)

    def _note_end(self) -> None:
        self.has_ended = True


class Opened(Protocol):
    """Opened data that has something to save."""

    def state_dict(self, *, holds_batch: bool) -> Any:
        """Return it.

        Args:
            holds_batch: whether the last batch does not count yet.
        """


class _Watched(Iterator[Any]):
    """An iterator that tells when it has ended, and where it was when it failed."""

    def __init__(self, iterator: Iterator[Any], position: Position, note_end: Callable[[], None]) -> None:
        self._iterator = iterator
        self._data_pass = position.data_pass
        self._batch = position.batch
        self._note_end = note_end

    def __next__(self) -> Any:
        try:
            batch = next(self._iterator)
        except StopIteration:
            self._note_end()
            raise
        except Exception as error:
            error.add_note(f"while the run waited for batch {self._batch} of pass {self._data_pass}")
            raise
        self._batch += 1
        return batch


class _Replayed(Iterator[Any]):
    """An iterator that knows where the generators stood when its first batch was drawn.

    It may have drawn an order then, after handlers had drawn numbers of their own.

    Attributes:
        rng: that state of the generators; None before the first batch.
    """

    def __init__(self, iterator: Iterator[Any], rng: dict[str, Any] | None = None, *, has_begun: bool = False) -> None:
        self.rng = rng
        self._iterator = iterator
        self._has_begun = has_begun

    def __next__(self) -> Any:
        if not self._has_begun:
            self._has_begun = True
            if self.rng is None:
                self.rng = capture_rng()
            else:
                restore_rng(self.rng)
        return next(self._iterator)

    def state_dict(self, *, holds_batch: bool) -> dict[str, Any]:  # the same either way
        """Return the state of the generators; it loads safely."""
        return {"rng": self.rng}


def seed_pass(data: Any, seed: int, data_pass: int, batch: int = 0) -> None:
    """Seed the generators that the step draws from.

    Each pass and each rank has a stream of its own. Inside a pass, where nothing is known about the
    generators, they do not begin again with the first numbers of the pass.
    """
    seed_everything(derive_seed(seed, data_pass, "main", Share(data).rank, batch))


def _draw_again(iterator: Iterator[Any], count: int) -> Iterator[Any]:
    """Return the iterator behind its first `count` batches.

    Raises:
        ResumeMismatch: there are not that many.
    """
    drawn = skip(iterator, count)
    if drawn < count:
        raise ResumeMismatch({"batches": (f"at least {count}", drawn)})
    return iterator
