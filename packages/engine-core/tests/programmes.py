"""Random programmes, and how to run one on a real engine."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from hypothesis import strategies as st

from camshaft.engine import Engine, EngineWarning, Events
from camshaft.engine.testing import Entry, EventLog, Programme, Stop, record_events

BETWEEN_FETCH_AND_STEP = ("GET_BATCH_COMPLETED", "ITERATION_STARTED", "STEP")
ACTIONS = ("terminate", "terminate_epoch", "interrupt", "raise")
PLACES = (
    "STARTED", "EPOCH_STARTED", "GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED", "STEP",
    "ITERATION_COMPLETED", "DATALOADER_STOP_ITERATION", "EPOCH_COMPLETED", "TERMINATE_SINGLE_EPOCH", "FETCH",
)  # fmt: skip


class Failure(Exception):
    """What a programme raises."""


class Sequenced:
    """A sequence of batches in the old style: `__len__` and `__getitem__`."""

    def __init__(self, length: int, on_fetch: Callable[[], None]) -> None:
        self._length = length
        self._on_fetch = on_fetch

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: int) -> tuple[int, int]:
        if not 0 <= place < self._length:
            raise IndexError(place)
        self._on_fetch()
        return 1, place + 1


class Passes:
    """Batches that each `iter()` begins anew; the passes have lengths of their own."""

    def __init__(self, lengths: tuple[int, ...], on_fetch: Callable[[], None]) -> None:
        self.lengths = lengths
        self.begun = 0
        self._on_fetch = on_fetch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        self.begun += 1
        length = self.lengths[min(self.begun, len(self.lengths)) - 1]
        return BeginningAgain(self.begun, length, self._on_fetch)


class SizedPasses(Passes):
    def __len__(self) -> int:
        return self.lengths[0]


class PassIterator:
    """The iterator of one pass; unlike a generator it survives a failure."""

    def __init__(self, number: int, length: int, on_fetch: Callable[[], None]) -> None:
        self._number = number
        self._left = length
        self._length = length
        self._on_fetch = on_fetch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return self

    def __next__(self) -> tuple[int, int]:
        if not self._left:
            raise StopIteration
        self._on_fetch()
        self._left -= 1
        return self._number, self._length - self._left


class BeginningAgain(PassIterator):
    """An iterator that `iter` turns back to its beginning, as loaders do that are their own iterators."""

    def __iter__(self) -> Iterator[tuple[int, int]]:
        self._left = self._length
        return self


class Runner:
    """Runs a programme on an engine, with or without observers on every event."""

    def __init__(self, programme: Programme, observed: bool) -> None:
        self.programme = programme
        self.observed = observed
        self.seen: Counter[str] = Counter()
        self.log = EventLog()
        self.data = self._make_data()
        self.engine = self.make_engine()
        self._is_begun = False

    def _make_data(self) -> Any:
        kind, lengths = self.programme.kind, tuple(self.programme.lengths)
        if kind == "none":
            return None
        if kind == "sequence":
            return Sequenced(lengths[0], self._fetch)
        if kind == "iterator":
            return PassIterator(1, lengths[0], self._fetch)
        return (SizedPasses if self.programme.sized else Passes)(lengths, self._fetch)

    def make_engine(self) -> Engine[Any, Any]:
        engine: Engine[Any, Any] = Engine(self._step)
        if self.observed:
            self.log = record_events(engine)
        for name in {stop.event for stop in self.programme.stops} - {"STEP", "FETCH"}:
            engine.add_event_handler(Events[name], partial(self._act, event=name))
        return engine

    def _fetch(self) -> None:
        self._act(self.engine, event="FETCH")

    def _step(self, engine: Engine[Any, Any], batch: Any) -> Any:
        self.log.add(engine, "STEP", batch)
        self._act(engine, event="STEP")
        return engine.state.iteration, batch

    def _act(self, engine: Engine[Any, Any], *event_args: Any, event: str) -> None:
        self.seen[event] += 1
        stops = [stop for stop in self.programme.stops if stop[:2] == (event, self.seen[event])]
        for stop in stops:
            if stop.action == "terminate":
                engine.terminate(stop.skip)
            elif stop.action == "terminate_epoch":
                engine.terminate_epoch(stop.skip)
            elif stop.action == "interrupt":
                engine.interrupt()
        if any(stop.action == "raise" for stop in stops):
            raise Failure(event)

    def run(self, *, repeat_data: bool = False) -> list[Entry]:
        """Make one call of `run` and return what it has recorded."""
        self.log.clear()
        programme = self.programme
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EngineWarning)
            try:
                if self._is_begun:
                    self.engine.run(self.data if repeat_data else None)
                else:
                    self.engine.run(
                        self.data, programme.max_epochs, programme.epoch_length, max_iters=programme.max_iters
                    )
            except Failure:
                pass
        self._is_begun = True
        return list(self.log)

    def reload(self) -> None:
        """Go on in another engine, into which the state is loaded."""
        saved = self.engine.state_dict()
        self.engine = self.make_engine()
        self.engine.load_state_dict(saved)
        self.engine.state.dataloader = self.data


def is_covered(programme: Programme, stop: Stop) -> bool:
    """Tell whether the oracle has a say: see its docstring."""
    leaves = stop.action in ("terminate", "raise")
    if stop.event in BETWEEN_FETCH_AND_STEP and leaves and programme.kind == "iterator":
        return False  # the batch is lost
    if leaves and 0 in programme.lengths:
        return False  # opened again, the data may be empty
    if stop.event == "FETCH" and stop.action != "raise":
        return False
    return stop.action != "terminate_epoch" or stop.event not in ("STARTED", "EPOCH_STARTED")


# Made once: hypothesis spends more time on making and checking strategies than on drawing from them.
KINDS = st.sampled_from(("sequence", "sequence", "iterable", "iterator", "none"))
FIRST_LENGTH, LATER_LENGTHS = st.integers(1, 4), st.lists(st.integers(0, 4), max_size=2)
EPOCHS, ITERATIONS, EPOCH_LENGTHS = st.integers(1, 3), st.integers(1, 8), st.one_of(st.none(), st.integers(1, 5))


def programmes(max_stops: int = 3, actions: tuple[str, ...] = ACTIONS) -> st.SearchStrategy[Programme]:
    stop = st.builds(Stop, st.sampled_from(PLACES), st.integers(1, 6), st.sampled_from(actions), st.booleans())
    return _programmes(st.lists(stop, max_size=max_stops))


@st.composite
def _programmes(draw: st.DrawFn, stops: st.SearchStrategy[list[Stop]]) -> Programme:
    kind = draw(KINDS)
    later = draw(LATER_LENGTHS) if kind == "iterable" else []
    lengths = (draw(FIRST_LENGTH), *later)
    sized = kind == "sequence" or (kind == "iterable" and draw(st.booleans()))
    by_iters = draw(st.booleans()) and draw(st.booleans())
    length = draw(EPOCH_LENGTHS)
    programme = Programme(
        kind=kind,
        lengths=lengths,
        sized=sized,
        max_epochs=None if by_iters else draw(EPOCHS),
        max_iters=draw(ITERATIONS) if by_iters else None,
        epoch_length=3 if kind == "none" and length is None else length,
        stops=draw(stops),
    )
    fitting = tuple(stop for stop in programme.stops if is_covered(programme, stop))
    if any(stop.event in BETWEEN_FETCH_AND_STEP and stop.action in ("terminate", "raise") for stop in fitting):
        # A batch is fetched again: which fetch is the n-th depends on that.
        fitting = tuple(stop for stop in fitting if stop.event != "FETCH")
    return replace(programme, stops=fitting)
