"""Any data, opened at a position: at the start of a pass, or inside it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from torch.utils.data import DataLoader

from camshaft.deterministic._copy import is_stream
from camshaft.deterministic._data import kind_of, restore_samplers, sampler_states, skip
from camshaft.deterministic._fetch import Seeding
from camshaft.deterministic._loader import Share, SourceCache, choose_seeding
from camshaft.deterministic._mismatch import ResumeMismatch
from camshaft.deterministic._rng import seed_everything
from camshaft.deterministic._seeds import derive_seed
from camshaft.deterministic._stream import OpenedStream, SavingStream
from camshaft.engine import EngineWarning, Events, Position

Open: TypeAlias = Callable[[Any, Position], Iterator[Any]]

# Where a run stands with a batch in hand that its position does not count yet.
HOLDING = (Events.ITERATION_STARTED.name, Events.ITERATION_COMPLETED.name)


class DataSource:
    """Opens an engine's data, and knows what has to be saved to open it again.

    Attributes:
        has_ended: whether the present pass has given its last batch, as far as somebody has asked for more.
        is_open: whether data was opened in this run.

    Args:
        seeding: how fetches from data sets with indices are seeded, None to choose by the data set.
    """

    def __init__(self, seeding: Seeding | None) -> None:
        self._seeding = seeding
        self._cache = SourceCache()
        self._goes_on = False
        self._stream: OpenedStream | None = None
        self._saving: SavingStream | None = None
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
        self.is_open = False
        if is_new:
            self.has_ended = False

    def leave(self) -> None:
        """Note that a run has ended, and let go of its data and of the workers that persist."""
        self._stream = self._saving = None
        self._cache.clear()

    def data_state(self, data: Any, *, holds_batch: bool) -> Any:
        """Return what is needed to open the pass again beside its position; None for nothing.

        Args:
            data: the user's data.
            holds_batch: whether a batch was fetched that the position does not count yet.
        """
        kind = kind_of(data)
        if kind == "stateful":
            return data.state_dict() if self._saving is None else self._saving.state_dict()
        if kind == "indexed" and self._samplers:
            return {"samplers": self._samplers}
        if kind == "stream" and self._stream is not None:
            return self._stream.state_dict(holds_batch=holds_batch)
        return None

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
        self._stream = self._saving = None
        if not position.pass_open:
            self.has_ended = False
            seed_pass(data, seed, position.data_pass)
        kind = kind_of(data)
        if kind == "indexed":
            return self._open_indexed(data, seed, position)
        if kind == "sequence":
            return open_core(data, position)
        if kind == "stateful":
            iterator = self._open_stateful(data, seed, position, open_core)
        elif kind == "stream":
            iterator = self._open_stream(data, seed, position)
        else:
            iterator = self._open_replayed(data, seed, position, open_core)
        return _Watched(iterator, self._note_end)

    # ------------------------------------------------------------------ one way for each kind

    def _open_indexed(self, loader: DataLoader[Any], seed: int, position: Position) -> Iterator[Any]:
        if position.pass_open:
            self._samplers = _entries(position.data_state).get("samplers", {})
            restore_samplers(loader, self._samplers)
        else:
            self._samplers = sampler_states(loader)
        source = self._cache.get(loader, choose_seeding(loader.dataset, self._seeding))
        return source.open(loader, seed, position.data_pass, position.batch)

    def _open_stateful(self, data: Any, seed: int, position: Position, open_core: Open) -> Iterator[Any]:
        if position.pass_open:
            if position.data_state is None:
                return self._open_replayed(data, seed, position, open_core)
            if self.has_ended:  # some data would begin again at once
                if not is_stream(data):
                    data.load_state_dict(position.data_state)
                return iter(())
        if not is_stream(data):
            return open_core(data, position)
        state = position.data_state if position.pass_open else None
        self._saving = SavingStream(data, seed, position.data_pass, state)
        return self._saving

    def _open_stream(self, loader: DataLoader[Any], seed: int, position: Position) -> Iterator[Any]:
        state = _entries(position.data_state) if position.pass_open else {}
        self._stream = OpenedStream(loader, seed, position.data_pass, state, position.batch)
        if self.has_ended and position.pass_open:
            return iter(())
        return _draw_again(self._stream, position.batch - self._stream.number)

    def _open_replayed(self, data: Any, seed: int, position: Position, open_core: Open) -> Iterator[Any]:
        if not position.pass_open:
            return iter(data)
        if self.has_ended:
            return iter(())
        if self._goes_on and iter(data) is data:
            return open_core(data, position)  # it stands where the run left it
        if position.stage in HOLDING:
            warnings.warn(
                f"the run was left with a batch fetched for iteration {position.iteration + 1}: it is drawn again, "
                f"with other random numbers, as {type(data)} has no indices and no state_dict()",
                EngineWarning,
                stacklevel=2,
            )
        seed_pass(data, seed, position.data_pass)
        return _draw_again(iter(data), position.batch)

    def _note_end(self) -> None:
        self.has_ended = True


class _Watched(Iterator[Any]):
    """An iterator that tells when it has ended."""

    def __init__(self, iterator: Iterator[Any], note_end: Callable[[], None]) -> None:
        self._iterator = iterator
        self._note_end = note_end

    def __next__(self) -> Any:
        try:
            return next(self._iterator)
        except StopIteration:
            self._note_end()
            raise


def seed_pass(data: Any, seed: int, data_pass: int, batch: int = 0) -> None:
    """Seed the generators that the step draws from.

    Each pass and each rank has a stream of its own. Inside a pass, where nothing is known about the
    generators, they do not begin again with the first numbers of the pass.
    """
    seed_everything(derive_seed(seed, data_pass, "main", Share(data).rank, batch))


def _entries(state: object) -> Mapping[str, Any]:
    return state if isinstance(state, Mapping) else {}


def _draw_again(iterator: Iterator[Any], count: int) -> Iterator[Any]:
    """Return the iterator behind its first `count` batches.

    Raises:
        ResumeMismatch: there are not that many.
    """
    drawn = skip(iterator, count)
    if drawn < count:
        raise ResumeMismatch({"batches": (f"at least {count}", drawn)})
    return iterator
