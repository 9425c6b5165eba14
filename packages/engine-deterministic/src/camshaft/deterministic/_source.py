"""Any data, opened at a position: at the start of a pass, or inside it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, Protocol, TypeAlias

from torch.utils.data import DataLoader

from camshaft.deterministic._accelerator import seed_accelerators
from camshaft.deterministic._copy import is_stream
from camshaft.deterministic._data import has_state, kind_of, restore_between, restore_samplers, sampler_states
from camshaft.deterministic._fetch import Seeding
from camshaft.deterministic._loader import Share, SourceCache, choose_seeding, end_workers
from camshaft.deterministic._replay import Replay, draw_again, skip_exactly
from camshaft.deterministic._rng import seed_everything, seed_generators
from camshaft.deterministic._seeds import derive_seed
from camshaft.deterministic._stream import IsolatedIterator, OpenedStream, SavingStream, entries_of
from camshaft.engine import EngineWarning, Events, Position

Open: TypeAlias = Callable[[Any, Position], Iterator[Any]]

LOST_WORKER_S = 0.2

# Where a run stands with a batch in hand that its position does not count yet.
HOLDING = (Events.ITERATION_STARTED.name, Events.ITERATION_COMPLETED.name)


class DataSource:
    """Opens an engine's data, and knows what has to be saved to open it again.

    Attributes:
        has_ended: whether the present pass has given its last batch, as far as somebody has asked for more.
        is_open: whether data was opened in this run, or in the suspended one that it goes on with.
        between: what the data needs beside its state to begin the next pass where a saved run would have.

    Args:
        seeding: how fetches from data sets with indices are seeded, None to choose by the data set.
    """

    def __init__(self, seeding: Seeding | None) -> None:
        self._seeding = seeding
        self._cache = SourceCache()
        self._goes_on = False
        self._is_own = True
        self._workers: Iterator[Any] | None = None  # what has started workers
        self._opened: Opened | None = None  # what has more to save than a position
        self._restored: _Watched | None = None  # what was opened with a state of its own
        self._samplers: dict[str, Any] = {}  # as they were at the start of the pass
        self._unfinished: list[dict[str, Any]] = []  # passes over an iterator that were left before its end
        self.has_ended = False
        self.is_open = False
        self.between: Any = None

    # ------------------------------------------------------------------ the course of a run

    def begin(self, *, is_new: bool, goes_on: bool, is_own: bool) -> None:
        """Note that a run begins.

        Args:
            is_new: it does not continue an earlier one.
            goes_on: it continues in this process, with the same object as its data.
            is_own: what was saved was saved by this rank; the data of another one may stand elsewhere.
        """
        self._goes_on = goes_on
        self._is_own = is_own
        if is_new:
            self.leave()
            self.forget()
            self.has_ended = False

    def forget(self) -> None:
        """Note that the next pass is one over other data."""
        self._unfinished, self.between = [], None

    def leave(self) -> None:
        """Note that a run has ended, and let go of its data and of all workers."""
        if isinstance(self._opened, Replay):
            self._unfinished = self._opened.passes()
        end_workers(self._workers)
        self._workers = self._opened = self._restored = None
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
        if kind != "stateful":
            return None
        # Data may know its place again only when it goes on.
        return data.state_dict() if self._restored is None or self._restored.has_drawn else self._restored.data_state

    def state_between(self, data: Any) -> Any:
        """Return what is needed to begin the next pass as this process would; None for nothing."""
        if self.between is not None:  # loaded, and not used yet
            return self.between
        keeper = _keeper(data)
        if keeper is not None:
            return {"data": deepcopy(keeper.state_dict())}
        passes = self._opened.passes() if isinstance(self._opened, Replay) else self._unfinished
        return {"passes": passes} if passes and not self.has_ended and _is_iterator(data) else None

    def open(self, data: Any, seed: int, position: Position, open_core: Open) -> Iterator[Any]:
        """Return an iterator over the batches still to come.

        At the start of a pass the generators of the process are seeded for it. Inside a pass they
        are left anywhere when data is drawn again, and as they were otherwise. Where several ranks
        share the work they are seeded for each step: a checkpoint has the generators of one rank only.

        Args:
            data: the user's data.
            seed: base seed.
            position: where to open it.
            open_core: how a plain engine opens data.
        """
        self.is_open = True
        if not position.pass_open:
            self._close_pass(data, seed)
        elif not self._is_own and kind_of(data) in ("stateful", "stream"):
            position = position._replace(data_state=None)
        self._workers = self._opened = self._restored = None
        if not position.pass_open:
            seed_pass(data, seed, position.data_pass)
        share, kind = Share(data), kind_of(data)
        own_seed = seed if share.world_size == 1 else derive_seed(seed, "rank", share.rank)
        if kind == "sequence":
            iterator = open_core(data, position)
        elif kind == "indexed":
            iterator = self._open_indexed(data, seed, position)
        elif kind == "stateful":
            iterator = self._open_stateful(data, own_seed, position, open_core)
        elif kind == "stream":
            iterator = self._open_stream(data, own_seed, position)
        else:
            iterator = self._open_replayed(data, own_seed, position, open_core)
        if kind == "sequence" and share.world_size == 1:
            return iterator
        seed_step = partial(_seed_step, seed, position.data_pass, share.rank) if share.world_size > 1 else None
        # The numbers of a batch in hand are those that were saved with it, or seeded for it already.
        keep = position.batch if position.pass_open and position.stage in HOLDING and self._is_own else None
        watched = _Watched(iterator, position, self._note_end, seed_step, keep)
        self._restored = watched if position.data_state is not None else None
        return watched

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
            skip_exactly(stream, position.batch - stream.number)
            return stream
        if position.pass_open and position.data_state is None:
            return self._open_replayed(data, seed, position, open_core)
        if position.pass_open and self.has_ended:
            restore_between(data, position.data_state)
            return iter(())
        if position.pass_open and not position.batch and position.stage not in HOLDING:
            restore_between(data, position.data_state)
            return iter(data)
        return open_core(data, position)

    def _open_stream(self, loader: DataLoader[Any], seed: int, position: Position) -> Iterator[Any]:
        if position.pass_open and self.has_ended and position.data_state is None:
            return iter(())
        self._opened = stream = OpenedStream(loader, seed, position)
        self._workers = stream.iterator
        skip_exactly(stream, position.batch - stream.number)
        return stream

    def _open_replayed(self, data: Any, seed: int, position: Position, open_core: Open) -> Iterator[Any]:
        if not position.pass_open:
            self._opened = self._start_replay(data, seed, position.data_pass, self._unfinished)
            return self._opened
        if self.has_ended:
            return iter(())
        unknown = [{"data_pass": position.data_pass, "drawn": position.batch, "rng": None}]
        passes = list(entries_of(position.data_state).get("passes", unknown))
        if self._goes_on and _is_iterator(data):  # it stands where the run left it
            now, iterator = passes.pop(), open_core(data, position)
            self._opened = Replay(iterator, position.data_pass, passes, rng=now["rng"], drawn=position.batch)
            return self._opened
        if position.stage in HOLDING:
            warnings.warn(
                f"the run was left with a batch fetched for iteration {position.iteration + 1}: it is drawn again, "
                f"with other random numbers, as {type(data)} has no indices and no state_dict()",
                EngineWarning,
                stacklevel=2,
            )
        self._opened = self._draw_again(data, seed, passes)
        return self._opened

    def _start_replay(
        self, data: Any, seed: int, data_pass: int, earlier: Sequence[Any], rng: dict[str, Any] | None = None
    ) -> Replay:
        if Share(data).world_size == 1:
            return Replay(iter(data), data_pass, earlier, rng=rng)
        isolated = IsolatedIterator(data, derive_seed(seed, data_pass, "stream"), 0)
        return Replay(isolated, data_pass, earlier, is_isolated=True)

    def _draw_again(self, data: Any, seed: int, passes: Sequence[dict[str, Any]]) -> Replay:
        def start(data_pass: int, earlier: Sequence[Any], rng: dict[str, Any] | None) -> Replay:
            seed_pass(data, seed, data_pass)
            return self._start_replay(data, seed, data_pass, earlier, rng)

        return draw_again(passes, start)

    def _close_pass(self, data: Any, seed: int) -> None:
        """Bring the data to where the next pass begins: after loading, to where the saved run had left it."""
        between, self.between = entries_of(self.between), None
        if isinstance(self._opened, Replay):
            self._unfinished = self._opened.passes()
        if self.has_ended or not _is_iterator(data):
            self._unfinished = []
        if "passes" in between:
            self._unfinished = self._draw_again(data, seed, between["passes"]).passes()
        elif "data" in between and self._is_own:
            restore_between(_keeper(data), between["data"])
        self.has_ended = False

    def _note_end(self) -> None:
        self.has_ended = True


def _keeper(data: Any) -> Any:
    """Return what keeps its place when it is iterated anew, if anything does: it may save it, too."""
    if is_stream(data):  # workers have copies
        return data.dataset if data.num_workers == 0 and has_state(data.dataset) else None
    return data if kind_of(data) == "stateful" else None


def _is_iterator(data: Any) -> bool:
    return hasattr(type(data), "__next__")


class Opened(Protocol):
    """Opened data that has something to save."""

    def state_dict(self, *, holds_batch: bool) -> Any:
        """Return it.

        Args:
            holds_batch: whether the last batch does not count yet.
        """


class _Watched(Iterator[Any]):
    """An iterator that tells when it has ended, and where it was when it failed; it may seed each step."""

    def __init__(
        self,
        iterator: Iterator[Any],
        position: Position,
        note_end: Callable[[], None],
        seed_step: Callable[[int], None] | None,
        keep: int | None,
    ) -> None:
        self._iterator = iterator
        self._position = position
        self._batch = position.batch
        self._note_end = note_end
        self._seed_step = seed_step
        self._keep = keep

    @property
    def has_drawn(self) -> bool:
        """Whether a batch was drawn since the data was opened."""
        return self._batch != self._position.batch

    @property
    def data_state(self) -> Any:
        """What the data was opened with."""
        return self._position.data_state

    def __next__(self) -> Any:
        try:
            batch = self._draw()
        except StopIteration:
            self._note_end()
            raise
        except Exception as error:
            error.add_note(f"while the run waited for batch {self._batch} of pass {self._position.data_pass}")
            raise
        if self._seed_step is not None and self._batch != self._keep:
            self._seed_step(self._batch)
        self._batch += 1
        return batch

    def _draw(self) -> Any:
        try:
            return next(self._iterator)
        except (EOFError, OSError):
            # Perhaps a worker was killed in the middle of its answer: torch names it a moment later, from a signal
            # handler, wherever the program is by then. Let it be here.
            time.sleep(LOST_WORKER_S)
            raise


def seed_pass(data: Any, seed: int, data_pass: int, batch: int = 0) -> None:
    """Seed the generators that the step draws from.

    Each pass and each rank has a stream of its own. Inside a pass, where nothing is known about the
    generators, they do not begin again with the first numbers of the pass.
    """
    seed_everything(_main_seed(seed, data_pass, Share(data).rank, batch))


def _seed_step(seed: int, data_pass: int, rank: int, batch: int) -> None:
    """Do the same for the step of one batch, at a tenth of the price."""
    step_seed = _main_seed(seed, data_pass, rank, batch)
    seed_generators(step_seed)
    seed_accelerators(step_seed)


def _main_seed(seed: int, data_pass: int, rank: int, batch: int) -> int:
    return derive_seed(seed, data_pass, "main", rank, batch)
