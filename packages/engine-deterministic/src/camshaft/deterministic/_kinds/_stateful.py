"""Data that saves and restores its own place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, ClassVar

from camshaft.deterministic._kinds._isolated import IsolatedIterator
from camshaft.deterministic._kinds._kind import LAST, MEMORY, Setting, entries_of, stream_seed, warn_of_lost_batch
from camshaft.deterministic._kinds._pass import Pass
from camshaft.deterministic._kinds._pipeline import DrawWatch, functions_in, pipeline_of, remembering_in
from camshaft.deterministic._kinds._redrawn import compare_last, skip_exactly
from camshaft.deterministic._kinds._replayed import ReplayedData
from camshaft.deterministic._kinds._stateful_passes import (
    EARLY,
    ENDED,
    FRESH,
    begin_anew,
    begin_pass,
    read_place,
    resume_pass,
)
from camshaft.deterministic._loading._fetch import Seeding
from camshaft.deterministic._loading._order import tell_epoch
from camshaft.deterministic._memory._memory import ObjectMemory, Remembered
from camshaft.deterministic._random._rng import isolated
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.engine import Position

# Marks a state that is more than what the data saved.
_MARK = "stateful data"


class StatefulData:
    """Opens a pass through `load_state_dict`, which must make the next iteration go on where the state was saved.

    The streams of Hugging Face's `datasets` and of `torchdata.nodes` draw from streams of their own, as everything does
    in a `ResumableLoader`. Some draw random numbers for samples that they give out later, and their state lacks them.
    Once such a stream has drawn numbers, its pass is drawn again from the start. Of the others, a batch is drawn again
    behind a state that was taken before, and compared.

    The data is neither drawn from nor loaded but to open it. What a new pass over data does that was left in the middle
    is the data's: it begins anew, or, with an attribute `keeps_place = True`, goes on where it is.

    Args:
        data: the user's data.
        setting: what the passes depend on beside it.
    """

    name: ClassVar[str] = "stateful"

    def __init__(self, data: Any, setting: Setting) -> None:
        self._data = data
        self._setting = setting
        self._opened: Pass | None = None
        self._loaded: Any = None
        self._before: Mapping[str, Any] | None = None  # between passes, after loading: where the data stands
        self._start: Mapping[str, Any] = {}  # where the data stood between the passes, as this one began
        self._replayed: ReplayedData | None = None  # where the state is another rank's
        self._pipeline = pipeline_of(data)
        self._memory = ObjectMemory(remembering_in(data))  # which the state of the data lacks
        self._watch: DrawWatch | None = None
        self._earlier: Mapping[str, Any] | None = None  # the state that was taken last, and behind how many batches
        self._check: Mapping[str, Any] | None = None  # the same, with a hash of the batch behind it

    @staticmethod
    def describe(data: Any, seeding: Seeding | None) -> dict[str, Any]:
        """Return nothing: what the data depends on is its own."""
        del data, seeding
        return {}

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches behind `position`."""
        undrawn = self._undrawn_place()
        self._loaded, self._replayed = position.data_state if position.pass_open else None, None
        if position.pass_open and self._loaded is None:
            self._replayed = ReplayedData(self._data, self._setting)
            return self._replayed.open(position)
        if position.pass_open:
            return self._open_inside(position)
        entries = _marked(position.data_state) if self._opened is None else {}
        loaded = entries.get("between")
        self._begin_memory(entries)
        place, self._before = self._before or loaded or undrawn, None
        self._start = place or self._read_place()
        tell_epoch(self._data, position.data_pass)
        self._opened = self._give(lambda: self._begin(place), position._replace(batch=0))
        return self._opened

    def state(self, position: Position) -> Any:
        """Return what the data saves."""
        if self._replayed is not None and position.pass_open:
            return self._replayed.state(position)
        if self._opened is None:
            return position.data_state
        if not position.pass_open:
            place = self._before or self._undrawn_place() or self._read_place()
            return self._written(self._memory.now(), between=place)
        return self._state_inside(self._opened, position)

    def close(self) -> None:
        """Let go of the iterator."""
        for opened in (self._opened, self._replayed):
            if opened is not None:
                opened.close()

    def _open_inside(self, position: Position) -> Iterator[Any]:
        entries, at_start = _marked(self._loaded), position._replace(batch=0)
        tell_epoch(self._data, position.data_pass)
        self._check_earlier(entries.get("check"), position)
        self._begin_memory(entries)
        if "ended" in entries:
            self._before = entries["ended"]
            self._opened = Pass(iter(()), position, has_ended=True)
        elif "start" in entries:
            self._start = entries["start"]
            self._opened = self._give(lambda: self._begin(self._start), at_start)
            if LAST in entries:
                skip_exactly(self._opened, position.batch, self._setting.report)
                compare_last(self._opened, entries[LAST], self._setting.report)
        else:
            warn_of_lost_batch(position, self._data)
            self._start = entries.get("began", {})
            self._opened = self._go_on(entries.get("now", self._loaded), position)
        return self._opened

    def _go_on(self, state: Any, position: Position) -> Pass:
        return self._give(lambda: resume_pass(self._data, state, self._iterate), position)

    def _check_earlier(self, check: Mapping[str, Any] | None, position: Position) -> None:
        """Draw the batch behind an earlier state again, and report it if it is not what the saved run saw there."""
        if check is not None:
            self._memory.restore(check.get(MEMORY))
            opened = self._go_on(check["state"], position._replace(batch=check["batch"]))
            skip_exactly(opened, 1, self._setting.report)
            compare_last(opened, check[LAST], self._setting.report)
            opened.close()

    def _give(self, start: Callable[[], Iterator[Any]], position: Position) -> Pass:
        """Return the batches, on streams of their own where the data is isolated."""
        self._earlier = self._check = None
        if not self._setting.isolates:
            return Pass(start(), position)
        is_pipeline = self._pipeline is not None
        self._watch = self._pipeline.watch() if self._pipeline and self._pipeline.holds_back else None
        seed = stream_seed(self._setting, position.data_pass)
        # A new pass begins together with its first batch: what draws an order in a thread may do it in between.
        # Inside a pass, the order is drawn again when the state is loaded, under the seed of the first batch.
        batches: Iterable[Any] = _Begun(start)
        if position.batch:
            with isolated(derive_seed(seed, 0)):
                batches = start()
        watched = IsolatedIterator(
            batches, seed, position.batch, private_of=functions_in(self._data), watch=self._watch
        )
        return Pass(watched, position, keeps_last_from=0 if is_pipeline else None)

    def _begin(self, place: Mapping[str, Any] | None) -> Iterator[Any]:
        if place is None:
            return begin_anew(self._data, self._iterate)
        return begin_pass(self._data, place, self._iterate)

    def _state_inside(self, opened: Pass, position: Position) -> Any:
        if self._loaded is not None and not opened.has_drawn:  # data may know its place again only when it goes on
            return self._loaded
        if opened.has_ended:
            return self._written(self._memory.now(), ended=self._before or self._read_place())
        if not opened.given:
            return self._written(self._memory.at_start(), start=self._start)
        at_start, learned = self._memory.inside()
        has_drawn = self._watch is not None and (self._watch.has_drawn or learned is not None)
        if self._pipeline is not None and (has_drawn or self._pipeline.loses):
            if has_drawn and self._pipeline.threads:
                self._pipeline.warn_of_threads()
            last = None if position.holds_batch else opened.last()
            return self._written(at_start, start=self._start, last=last)
        now = self._data.state_dict()
        return now if self._pipeline is None else self._checked(now, opened)

    def _checked(self, now: Any, opened: Pass) -> Any:
        """Return a state with one that was taken before, and with what came behind that."""
        earlier, seen = self._earlier, opened.noted()
        if earlier is not None and seen is not None:
            self._check = {**earlier, LAST: seen}
        if earlier is None or earlier["batch"] != opened.given:
            self._earlier = {"batch": opened.given, "state": deepcopy(now), MEMORY: self._memory.now()}
            opened.note_next()
        entries = {"now": now, "began": self._start}
        return self._written(
            self._memory.now(), **entries if self._check is None else {**entries, "check": self._check}
        )

    def _begin_memory(self, entries: Mapping[str, Any]) -> None:
        self._memory.restore(entries.get(MEMORY))
        self._memory.begin_pass()

    def _written(self, memory: Remembered | None, **entries: Any) -> dict[str, Any]:
        return {_MARK: entries if memory is None else {**entries, MEMORY: memory}}

    def _undrawn_place(self) -> dict[str, Any] | None:
        """Return where the data stands if nothing was drawn since it was opened inside a pass."""
        is_undrawn = self._opened is not None and not self._opened.has_drawn
        entries = _marked(self._loaded)
        is_loaded = self._loaded is not None and self._replayed is None and (not entries or "now" in entries)
        return {"state": entries.get("now", self._loaded), "left": EARLY} if is_undrawn and is_loaded else None

    def _iterate(self) -> Iterator[Any]:
        return iter(self._data)

    def _read_place(self) -> dict[str, Any]:
        left = FRESH if self._opened is None else ENDED if self._opened.has_ended else EARLY
        return read_place(self._data, left)


class _Begun:
    """Begins to iterate when it is iterated.

    Args:
        start: begins.
    """

    def __init__(self, start: Callable[[], Iterator[Any]]) -> None:
        self._start = start

    def __iter__(self) -> Iterator[Any]:
        return self._start()


def _marked(state: Any) -> Mapping[str, Any]:
    return entries_of(entries_of(state).get(_MARK))
