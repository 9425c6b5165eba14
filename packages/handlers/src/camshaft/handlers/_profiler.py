"""Measure where the time of a run goes: data, step, and every handler."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from camshaft.engine import ArgumentError, EventEnum, Events, EventsList, RemovableEventHandle, RunningError
from camshaft.handlers import _profile
from camshaft.handlers._number import is_integer
from camshaft.handlers._profile import Row, Slice, Summary
from camshaft.handlers._reading import AnyEngine

EventKey = EventEnum | str
Call = Callable[..., Any]

# What the engine does from the last handler of one event to the first one of another.
BEGINS: dict[EventKey, str] = {
    Events.EPOCH_STARTED: "opening data",
    Events.GET_BATCH_STARTED: "data",
    Events.DATALOADER_STOP_ITERATION: "data",
    Events.ITERATION_STARTED: "step",
}
ENDS: dict[EventKey, str] = {
    Events.GET_BATCH_STARTED: "opening data",
    Events.GET_BATCH_COMPLETED: "data",
    Events.DATALOADER_STOP_ITERATION: "data",
    Events.ITERATION_COMPLETED: "step",
}
# At these the state still counts the iteration before.
AHEAD = {
    Events.STARTED, Events.EPOCH_STARTED, Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED,
    Events.DATALOADER_STOP_ITERATION,
}  # fmt: skip
LAST = {Events.COMPLETED, Events.TERMINATE, Events.INTERRUPT, Events.EXCEPTION_RAISED}


class Profiler:
    """Measures how often each handler runs and how long it takes, and the time in data and step.

    Times are those of the wall clock on the thread of the loop; what an accelerator still has to do
    counts where something waits for it. A handler that runs an evaluator, or fires events of its own,
    has their time in its own. It costs a microsecond or two per handler call while its window is open,
    and nothing before and after.

    Args:
        first: number of the first iteration to measure.
        last: number of the last one; None: as long as it is attached.
        max_slices: the most calls that are kept for the trace; later ones are only counted.
        clock: returns nanoseconds that never go back.

    Raises:
        ArgumentError: `first` is below 1, `last` below `first`, or `max_slices` below 0.

    Examples:
        >>> from camshaft.engine import Engine, Events
        >>> engine = Engine(lambda engine, batch: batch)
        >>> def save(engine): pass
        >>> handle = engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), save)
        >>> profiler = Profiler()
        >>> profiler.attach(engine)
        >>> state = engine.run([1, 2, 3, 4])
        >>> profiler.detach()
        >>> for row in profiler.summary()["handlers"]:
        ...     print(row["event"], row["name"], row["count"])
        ITERATION_COMPLETED save 2
    """

    def __init__(
        self,
        first: int = 1,
        last: int | None = None,
        *,
        max_slices: int = 100_000,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        for name, value, least in (("first", first, 1), ("last", last, first), ("max_slices", max_slices, 0)):
            if value is not None and not (is_integer(value) and value >= least):
                raise ArgumentError(f"`{name}` must be an integer of at least {least}, got {value!r}")
        self._first, self._last, self._max_slices, self._clock = first, last, max_slices, clock
        self._engine: weakref.ref[AnyEngine] | None = None
        self._handles: list[RemovableEventHandle] = []  # what opens and closes the window
        self._mark_handle: RemovableEventHandle | None = None  # while it is open
        self._rows: dict[tuple[EventKey | None, str], Row] = {}
        self._slices: list[Slice] = []
        self._dropped = 0
        self._wall_ns = 0
        self._seen_until: int | None = None
        self._phase: tuple[str, int] | None = None

    def attach(self, engine: AnyEngine) -> None:
        """Measure an engine from now on, or as soon as it comes to the first iteration of the window.

        Raises:
            RunningError: it is attached already.
        """
        if self._engine is not None:
            raise RunningError("a profiler must be attached to one engine at a time; detach() it first")
        self._engine = weakref.ref(engine)
        if self._first == 1:
            self._open(engine)
        else:
            self._handles.append(engine.add_event_handler(Events.STARTED, self._open_late))
            before = Events.ITERATION_COMPLETED(once=self._first - 1)
            self._handles.append(engine.add_event_handler(before, self._open))
        if self._last is not None:
            behind = Events.ITERATION_STARTED(once=self._last + 1)
            self._handles.append(engine.add_event_handler(behind, self._close))

    def detach(self) -> None:
        """Measure no more; what was measured stays. A profiler that is not attached stays as it is."""
        engine = None if self._engine is None else self._engine()
        if engine is not None:
            self._close(engine)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._engine = None

    def summary(self) -> Summary:
        """Return the measured times: `wall_s`, and `phases`, `events` and `handlers` as lists of rows.

        Each row has `name`, `count`, `total_s`, `mean_s` and `share` (of the wall time); a handler's has
        its `event` too. An event counts its firings and adds up its handlers.
        """
        return _profile.summarize(self._rows.values(), self._wall_ns)

    def table(self) -> str:
        """Return the summary as a table, the most expensive rows first."""
        return _profile.format_table(self.summary())

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write the summary as JSON."""
        Path(path).write_text(_profile.to_json(self.summary()))

    def write_trace(self, path: str | os.PathLike[str]) -> None:
        """Write every call as a slice of time, in the Trace Event Format that chrome://tracing and Perfetto open."""
        Path(path).write_text(_profile.to_json(_profile.trace(self._slices, self._dropped)))

    # ---- the window --------------------------------------------------------------------------------

    def _open(self, engine: AnyEngine) -> None:
        if self._mark_handle is None:
            self._phase = self._seen_until = None
            self._mark_handle = engine.add_event_handler(EventsList(*Events), self._mark)
            engine.wrap_handlers(self._wrap)

    def _open_late(self, engine: AnyEngine) -> None:
        """Open the window of a run that continues inside it."""
        if engine.position.iteration >= self._first - 1:
            self._open(engine)

    def _close(self, engine: AnyEngine) -> None:
        if self._mark_handle is not None:
            engine.unwrap_handlers(self._wrap)
            self._mark_handle.remove()
            self._mark_handle = None

    # ---- measuring ---------------------------------------------------------------------------------

    def _mark(self) -> None:
        """Sit on every event, so that each has a first and a last call."""

    def _wrap(self, event: EventKey, handler: Call, call: Call) -> Call:
        if handler in (self._open, self._open_late, self._close):
            return call
        row = self._row(event, handler, "event" if handler == self._mark else "handler")
        begins, ends, is_ahead, is_last = BEGINS.get(event), ENDS.get(event), event in AHEAD, event in LAST
        clock = self._clock

        def timed(engine: AnyEngine, *event_args: object) -> None:
            number = engine.state.iteration + is_ahead
            begin = clock()
            if ends is not None:
                self._end_phase(ends, begin, number)
            try:
                call(engine, *event_args)
            finally:
                end = clock()
                self._count(row, begin, end, number)
                if begins is not None:
                    self._phase = begins, end
                if is_last:
                    self._phase = self._seen_until = None

        return timed

    def _end_phase(self, name: str, now: int, number: int) -> None:
        """Count the time since the phase began; without handlers in between it may be another one, or none."""
        if self._phase is not None and self._phase[0] == name:
            row = self._rows.setdefault((None, name), Row("phase", "", name))
            self._count(row, self._phase[1], now, number)
        self._phase = None

    def _count(self, row: Row, begin: int, end: int, number: int) -> None:
        if number < self._first or (self._last is not None and number > self._last):
            return
        row.count += 1
        # Calls inside a call come first, so the part up to their end is counted already.
        self._wall_ns += end - (begin if self._seen_until is None else self._seen_until)
        self._seen_until = end
        if row.kind == "event":
            return
        row.total_ns += end - begin
        if len(self._slices) < self._max_slices:
            self._slices.append(Slice(row, begin, end, number))
        else:
            self._dropped += 1

    def _row(self, event: EventKey, handler: Call, kind: str) -> Row:
        """Return the row of a handler on an event; another one of the same name gets a number."""
        name = plain = _profile.name_of(handler) if kind == "handler" else ""
        event_name = event if isinstance(event, str) else event.name
        number = 1
        while (row := self._rows.get((event, name))) is not None and row.handler != handler:
            number += 1
            name = f"{plain} #{number}"
        if row is None:
            row = self._rows[event, name] = Row(kind, event_name, name, handler)
        return row
