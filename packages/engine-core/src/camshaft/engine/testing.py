"""Helpers for tests of engines and handlers: record what fires, and say what should.

`Oracle` reads the rules of the loop as they are written for people: a generator walks through
epochs and iterations, and a run that is left and continued is a generator that waits. It shares
nothing with the engine's own loop, so the two can be held against each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from camshaft.engine._engine import Engine
from camshaft.engine._events import EventEnum, Events
from camshaft.engine._handle import RemovableEventHandle


class Entry(NamedTuple):
    """One event that was fired.

    Attributes:
        event: its name; "STEP" stands for a call of the process function.
        epoch, iteration: `state.epoch` and `state.iteration` at that moment.
        detail: what came with it: the batch of a step, the count of TERMINATE_SINGLE_EPOCH.
    """

    event: str
    epoch: int
    iteration: int
    detail: Any = None


class EventLog(list[Entry]):
    """The events that an engine has fired since `record_events`, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._handles: list[RemovableEventHandle] = []

    @property
    def names(self) -> list[str]:
        """The names of the events alone."""
        return [entry.event for entry in self]

    def add(self, engine: Engine[Any, Any], event: str, detail: Any = None) -> None:
        """Note an event with the counters as they are now."""
        self.append(Entry(event, engine.state.epoch, engine.state.iteration, detail))

    def stop(self) -> None:
        """Record nothing more."""
        for handle in self._handles:
            handle.remove()

    def listen(self, engine: Engine[Any, Any], event: EventEnum | str) -> None:
        """Record this event too."""
        self._handles.append(engine.add_event_handler(event, _Recorder(self, event)))


class _Recorder:
    """A handler that notes one event."""

    def __init__(self, log: EventLog, event: EventEnum | str) -> None:
        self._log = log
        self._event = event

    def __call__(self, engine: Engine[Any, Any], *event_args: Any) -> None:
        detail = event_args[0] if self._event is Events.TERMINATE_SINGLE_EPOCH else None
        self._log.add(engine, self._event if isinstance(self._event, str) else self._event.name, detail)


def record_events(engine: Engine[Any, Any], *custom_events: EventEnum | str) -> EventLog:
    """Attach to every built-in event, and to the given registered ones; return the growing log.

    Examples:
        >>> engine = Engine(lambda engine, batch: batch)
        >>> log = record_events(engine)
        >>> state = engine.run([7], max_epochs=1)
        >>> log.names[:4]
        ['STARTED', 'EPOCH_STARTED', 'GET_BATCH_STARTED', 'GET_BATCH_COMPLETED']
    """
    log = EventLog()
    for event in (*Events, *custom_events):
        log.listen(engine, event)
    return log


# ---------------------------------------------------------------------- what should fire

Action = Literal["terminate", "terminate_epoch", "interrupt", "raise"]


class Stop(NamedTuple):
    """A request to stop: made by a handler of an event, or by the step.

    Attributes:
        event: name of the event; "STEP" for the process function.
        occurrence: at which of its firings, counted from 1 over all runs.
        action: what is called there; "raise" raises an exception.
        skip: the flag of `terminate` and `terminate_epoch`.
    """

    event: str
    occurrence: int
    action: Action
    skip: bool = False


@dataclass(frozen=True)
class Programme:
    """What is run: data, limits, and what stops it on the way.

    Attributes:
        kind: "sequence": can be opened anywhere; "iterable": each `iter()` begins a new pass; "iterator": has one
            pass only; "none": no data.
        lengths: batches in the first pass, the second, ...; the last number stands for all further ones.
        sized: whether `len(data)` is known; it is that of the first pass.
        max_epochs, max_iters, epoch_length: as for `Engine.run`.
        stops: requests to stop.
    """

    kind: Literal["sequence", "iterable", "iterator", "none"] = "sequence"
    lengths: Sequence[int] = (3,)
    sized: bool = True
    max_epochs: int | None = None
    max_iters: int | None = None
    epoch_length: int | None = None
    stops: Sequence[Stop] = ()


class _EndEpoch(Exception):  # noqa: N818  # no error: a jump inside the oracle
    """terminate_epoch() takes effect."""


class Oracle:
    """Says what each call of `run` fires, from the first to the one that finishes the run.

    A batch is a pair: the pass over the data it comes from, its place in it, both counted from 1; in a
    sequence, where all passes are the same, the pass is 1. Not covered are
    requests at TERMINATE, COMPLETED, INTERRUPT and EXCEPTION_RAISED, and data that ends while a batch
    is fetched again.

    Attributes:
        is_finished: nothing is left; a further call would be a new run.
        epoch, done: the number of the current epoch, and how many iterations are done in all.
        starts_anew: a further call in the same process would be a new run; a saved state would still continue.

    Examples:
        >>> oracle = Oracle(Programme(lengths=(2,), stops=[Stop("ITERATION_COMPLETED", 1, "interrupt")]))
        >>> [entry.event for entry in oracle.run()][-2:]
        ['ITERATION_COMPLETED', 'INTERRUPT']
        >>> [entry.event for entry in oracle.run()][:2]
        ['GET_BATCH_STARTED', 'GET_BATCH_COMPLETED']
    """

    def __init__(self, programme: Programme) -> None:
        self._programme = programme
        self._max_epochs = programme.max_epochs
        if programme.max_epochs is None and programme.max_iters is None:
            self._max_epochs = 1
        has_length = programme.sized and programme.kind in ("sequence", "iterable")
        self._epoch_length = programme.epoch_length or (programme.lengths[0] if has_length else None)
        self.epoch = self._iteration = self.done = self._in_epoch = 0
        self._passes = 0  # how many were begun
        self._pass_start = 0  # what `done` was when the current one was
        self._place = 0  # how many batches of the current one were used or fetched
        self._is_open = self._has_batch = self._is_exhausted = self._skips = False
        self._is_used_up = False  # all batches of the pass that is open again
        self._must_reopen = False  # a continued run has not opened its data yet
        self._seen: Counter[str] = Counter()
        self._log: list[Entry] = []
        self._last = ""
        self._is_interrupted = False
        self._pending: list[Stop] = []
        self._flow = self._walk()
        self._upcoming: str | None = None
        self._redo = False
        self.is_finished = False
        self.starts_anew = False

    def reload(self) -> None:
        """Go on as in another process, into which the state was loaded."""
        self._is_interrupted = self.starts_anew = False

    def run(self) -> list[Entry]:
        """Return what the next call of `run` fires, "STEP" entries included."""
        self._log = []
        was_interrupted, self._is_interrupted = self._is_interrupted, False
        started, self._iteration = self._iteration, self.done
        is_left = False
        if not was_interrupted:
            self._must_reopen = self._is_open
            is_left = self._heed(self._fire(Events.STARTED.name))
        if self._must_reopen and not is_left:
            self._must_reopen = False
            self._reopen()
        self._iteration = started
        while not is_left and not self.is_finished:
            is_left = self._go_on()
        return self._log

    # ------------------------------------------------------------------ one event after the other

    def _go_on(self) -> bool:
        event, self._upcoming = self._upcoming, None
        if event is None:
            redo, self._redo = self._redo, False
            event = self._flow.send(redo) if self._last else next(self._flow)
        self._last = event
        stops = self._fire(event)
        if event in ("STEP", "FETCH"):
            if any(stop.action == "raise" for stop in stops):
                self._redo = True
                return self._heed(stops)
            self._pending = stops  # they take effect after ITERATION_COMPLETED
            return False
        stops, self._pending = [*self._pending, *stops], []
        if event == Events.COMPLETED.name:
            self.is_finished = True
            return True
        return self._heed(stops)

    def _heed(self, stops: list[Stop]) -> bool:
        """Do what was asked for at an event; return whether the run is left."""
        actions = {stop.action for stop in stops}
        if "terminate_epoch" in actions and self._last not in ("EPOCH_COMPLETED", "TERMINATE_SINGLE_EPOCH"):
            skip = next(stop.skip for stop in reversed(stops) if stop.action == "terminate_epoch")
            self._upcoming = self._flow.throw(_EndEpoch(skip))
            self._redo = False
        if "raise" in actions:
            self._fire(Events.EXCEPTION_RAISED.name)
            self.starts_anew = self._max_epochs == 1
            return True
        if "terminate" in actions:
            self._fire(Events.TERMINATE.name)
            self.is_finished = self._upcoming is None and self._has_nothing_left()
            self.starts_anew = self._max_epochs == 1
            if not next(stop.skip for stop in reversed(stops) if stop.action == "terminate"):
                self._fire(Events.COMPLETED.name)
            return True
        if "interrupt" in actions:
            self._is_interrupted = True
            self._fire(Events.INTERRUPT.name)
            return True
        return False

    def _fire(self, event: str) -> list[Stop]:
        details = {"STEP": self._batch(), "TERMINATE_SINGLE_EPOCH": self._in_epoch}
        if event != "FETCH":
            self._log.append(Entry(event, self.epoch, self._iteration, details.get(event)))
        self._seen[event] += 1
        return [stop for stop in self._programme.stops if stop[:2] == (event, self._seen[event])]

    # ------------------------------------------------------------------ the rules

    def _walk(self) -> Generator[str, bool, None]:
        """Yield the events in order; what is sent says whether a step or a fetch has failed and is done again."""
        while not self._is_limit_reached():
            self.epoch += 1
            self._in_epoch = 0
            self._is_exhausted = False
            try:
                yield "EPOCH_STARTED"
                yield from self._walk_epoch()
                if self._is_cut():
                    yield "TERMINATE"
                    break
            except _EndEpoch as end:
                cut_off = self._last in ("ITERATION_STARTED", "STEP")  # its number is not given out again
                self.done += cut_off
                self._in_epoch += cut_off
                self._is_open = self._has_batch = False
                self._iteration = self.done
                self._skips = end.args[0]
                yield "TERMINATE_SINGLE_EPOCH"
                if self._skips:
                    continue
            yield "EPOCH_COMPLETED"
        yield "COMPLETED"

    def _walk_epoch(self) -> Generator[str, bool, None]:
        while self._in_epoch != self._epoch_length and not self._is_cut():
            if self._programme.kind != "none":
                if not self._is_open:
                    self._begin_pass()
                yield "GET_BATCH_STARTED"
                yield from self._fetch()
                if not self._has_batch and self._epoch_length is None and self._in_epoch:
                    self._epoch_length = self._in_epoch  # found
                    return
                if not self._has_batch:
                    self._is_open = False
                    yield "DATALOADER_STOP_ITERATION"
                    yield from self._fetch()
                if not self._has_batch:
                    self._is_exhausted = True
                    return
                yield "GET_BATCH_COMPLETED"
            self._iteration += 1
            yield "ITERATION_STARTED"
            while (yield "STEP"):
                pass
            self._has_batch = False
            self.done += 1
            self._in_epoch += 1
            yield "ITERATION_COMPLETED"

    def _is_limit_reached(self) -> bool:
        if self._programme.max_iters is not None:
            return self.done >= self._programme.max_iters or self._is_exhausted
        return self.epoch >= (self._max_epochs or 1)

    def _is_cut(self) -> bool:
        """Return whether `max_iters` ends the run inside the epoch."""
        max_iters = self._programme.max_iters
        return max_iters is not None and self.done >= max_iters and self._in_epoch != self._epoch_length

    def _has_nothing_left(self) -> bool:
        if self._last == "ITERATION_COMPLETED":
            return self._is_cut()
        has_ended = self._last == "EPOCH_COMPLETED" or (self._last == "TERMINATE_SINGLE_EPOCH" and self._skips)
        return has_ended and self._is_limit_reached()

    # ------------------------------------------------------------------ the data

    def _fetch(self) -> Generator[str, bool, None]:
        if not self._is_open:
            self._begin_pass()
        lengths = self._programme.lengths
        self._has_batch = False
        is_left = not self._is_used_up and self._place < lengths[min(self._passes, len(lengths)) - 1]
        if is_left:
            while (yield "FETCH"):
                pass
            self._take()

    def _take(self) -> None:
        self._has_batch = True
        self._place += 1

    def _begin_pass(self) -> None:
        self._is_open, self._is_used_up, self._pass_start = True, False, self.done
        if self._programme.kind == "iterator" and self._passes:
            return  # there is no other
        self._passes += 1
        self._place = 0

    def _reopen(self) -> None:
        """Open a pass again, in a continued run."""
        had_batch, self._has_batch = self._has_batch, False
        is_fetching = had_batch or self._last in ("GET_BATCH_STARTED", "FETCH")
        sized = self._programme.sized and not is_fetching
        self._is_used_up = sized and self.done - self._pass_start == self._programme.lengths[0]
        if self._programme.kind == "iterable" and not self._is_used_up:
            pass_start = self._pass_start
            self._begin_pass()
            self._pass_start = pass_start  # the same pass, though its data starts again
        if self._programme.kind == "sequence":
            self._place -= had_batch
        if had_batch:
            self._take()

    def _batch(self) -> tuple[int, int] | None:
        kind = self._programme.kind
        return None if kind == "none" else (self._passes if kind == "iterable" else 1, self._place)
