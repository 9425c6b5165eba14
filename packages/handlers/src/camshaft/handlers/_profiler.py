"""Measure where the time of a run goes: into data, the step, and every handler."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from typing import Any

from camshaft.engine import EventEnum, Events, EventsList, RemovableEventHandle, RunningError, as_integer
from camshaft.handlers import _profile
from camshaft.handlers._local_path import local_path
from camshaft.handlers._profile import Row, Slice, Summary
from camshaft.handlers._value_reader import AnyEngine

EventKey = EventEnum | str
Call = Callable[..., Any]

# What the engine does between the last handler of one event and the first handler of the next: by the event that starts
# it, and by the event that ends it.
PHASE_STARTS: dict[EventKey, str] = {
    Events.EPOCH_STARTED: "opening data",
    Events.GET_BATCH_STARTED: "data",
    Events.DATALOADER_STOP_ITERATION: "data",
    Events.ITERATION_STARTED: "step",
}
PHASE_ENDS: dict[EventKey, str] = {
    Events.GET_BATCH_STARTED: "opening data",
    Events.GET_BATCH_COMPLETED: "data",
    Events.DATALOADER_STOP_ITERATION: "data",
    Events.ITERATION_COMPLETED: "step",
}
# At these events `state.iteration` is still the number of the previous iteration.
BEFORE_ITERATION = {
    Events.STARTED, Events.EPOCH_STARTED, Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED,
    Events.DATALOADER_STOP_ITERATION,
}  # fmt: skip
LAST = {Events.COMPLETED, Events.TERMINATE, Events.INTERRUPT, Events.EXCEPTION_RAISED}


class Profiler:
    """Measures how often each handler runs and how long it takes, and the time in data and step.

    It measures wall time on the thread of the loop. The time of an accelerator counts where something waits for it.
    The time of a handler includes that of an evaluator that it runs, or of events that it fires. While the profiler
    measures, it costs one or two microseconds per handler call; before and after that it costs nothing.

    Args:
        first: number of the first iteration to measure; at least 1.
        last: number of the last iteration to measure; None measures until `detach`.
        max_slices: how many calls to keep for the trace; later ones are only counted.
        clock: returns the time in nanoseconds; it must never go back.

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
            if value is not None or name != "last":
                as_integer(name, value, least)
        self._first, self._last, self._max_slices, self._clock = first, last, max_slices, clock
        self._engine: weakref.ref[AnyEngine] | None = None
        self._handles: list[RemovableEventHandle] = []  # of the handlers that start and stop measuring
        self._mark_handle: RemovableEventHandle | None = None  # while it measures
        self._rows: dict[tuple[EventKey | None, str], Row] = {}
        self._slices: list[Slice] = []
        self._dropped = 0
        self._wall_ns = 0
        self._seen_until: int | None = None
        self._phase: tuple[str, int] | None = None

    def attach(self, engine: AnyEngine) -> None:
        """Measure an engine, from the first iteration to the last one that were asked for.

        Args:
            engine: the engine.

        Raises:
            RunningError: the profiler is attached already.
        """
        if self._engine is not None:
            raise RunningError("a profiler must be attached to one engine at a time; detach() it first")
        self._engine = weakref.ref(engine)
        if self._first == 1:
            self._start(engine)
        else:
            self._handles.append(engine.add_event_handler(Events.STARTED, self._start_if_inside))
            before = Events.ITERATION_COMPLETED(once=self._first - 1)
            self._handles.append(engine.add_event_handler(before, self._start))
        if self._last is not None:
            after = Events.ITERATION_STARTED(once=self._last + 1)
            self._handles.append(engine.add_event_handler(after, self._stop))

    def detach(self) -> None:
        """Stop measuring; what was measured stays. Without an engine, do nothing."""
        engine = None if self._engine is None else self._engine()
        if engine is not None:
            self._stop(engine)
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._engine = None

    def summary(self) -> Summary:
        """Return what was measured: `wall_s` in seconds, and `phases`, `events` and `handlers` as lists of rows.

        Each row has `name`, `count`, `total_s` and `mean_s` in seconds, and `share`, the part of the wall time. The row
        of a handler also has its `event`. The row of an event counts its firings and adds up its handlers.
        """
        return _profile.summarize(self._rows.values(), self._wall_ns)

    def table(self) -> str:
        """Return the summary as a table, the longest times first."""
        return _profile.format_table(self.summary())

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write the summary as JSON.

        Args:
            path: the file to write.

        Raises:
            ArgumentError: `path` is a URL.
        """
        local_path("path", path).write_text(_profile.to_json(self.summary()))

    def write_trace(self, path: str | os.PathLike[str]) -> None:
        """Write every call on a time line, in the Trace Event Format that Perfetto and chrome://tracing open.

        Args:
            path: the file to write.

        Raises:
            ArgumentError: `path` is a URL.
        """
        local_path("path", path).write_text(_profile.to_json(_profile.trace(self._slices, self._dropped)))

    # ---- starting and stopping ---------------------------------------------------------------------

    def _start(self, engine: AnyEngine) -> None:
        if self._mark_handle is None:
            self._phase = self._seen_until = None
            self._mark_handle = engine.add_event_handler(EventsList(*Events), self._mark)
            engine.wrap_handlers(self._wrap)

    def _start_if_inside(self, engine: AnyEngine) -> None:
        """Start measuring in a run that continues inside the iterations to measure."""
        if engine.position.iteration >= self._first - 1:
            self._start(engine)

    def _stop(self, engine: AnyEngine) -> None:
        if self._mark_handle is not None:
            engine.unwrap_handlers(self._wrap)
            self._mark_handle.remove()
            self._mark_handle = None

    # ---- measuring ---------------------------------------------------------------------------------

    def _mark(self) -> None:
        """Do nothing, on every event, so that each has at least one call to measure."""

    def _wrap(self, event: EventKey, handler: Call, call: Call) -> Call:
        if handler in (self._start, self._start_if_inside, self._stop):
            return call
        row = self._row(event, handler, "event" if handler == self._mark else "handler")
        begins, ends = PHASE_STARTS.get(event), PHASE_ENDS.get(event)
        is_before, is_last = event in BEFORE_ITERATION, event in LAST
        clock = self._clock

        def timed(engine: AnyEngine, *event_args: object) -> None:
            number = engine.state.iteration + is_before
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
        """Count the time since the phase began, if it is this phase that began last."""
        if self._phase is not None and self._phase[0] == name:
            row = self._rows.setdefault((None, name), Row("phase", "", name))
            self._count(row, self._phase[1], now, number)
        self._phase = None

    def _count(self, row: Row, begin: int, end: int, number: int) -> None:
        if number < self._first or (self._last is not None and number > self._last):
            return
        row.count += 1
        # Calls inside this call were counted before it, so the time until their end is counted already.
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
        """Return the row of a handler on an event; a second handler of the same name gets a number."""
        name = plain = _profile.name_of(handler) if kind == "handler" else ""
        event_name = event if isinstance(event, str) else event.name
        number = 1
        while (row := self._rows.get((event, name))) is not None and row.handler != handler:
            number += 1
            name = f"{plain} #{number}"
        if row is None:
            row = self._rows[event, name] = Row(kind, event_name, name, handler)
        return row
