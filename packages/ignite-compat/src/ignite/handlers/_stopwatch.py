"""Time every handler of an engine, its step and its data."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from camshaft.engine import EventsList
from ignite.engine import Events
from ignite.handlers._annotations import AnyEngine

Call = Callable[..., Any]

# What the engine does from the last handler of one event to the first one of another.
BEGINS = {Events.GET_BATCH_STARTED: "dataflow", Events.ITERATION_STARTED: "processing"}
ENDS = {Events.GET_BATCH_COMPLETED: "dataflow", Events.ITERATION_COMPLETED: "processing"}


def is_own(handler: Call) -> bool:
    """Return whether a handler is part of a stopwatch, this one or another."""
    return isinstance(getattr(handler, "__self__", None), Stopwatch)


class Stopwatch:
    """Measures an engine's handlers, one by one, through the engine's hook for that.

    Attributes:
        phases: seconds of each step ("processing") and of each fetch of a batch ("dataflow").
        calls: seconds of each call, by event and handler's name.
        state: the state of the engine in its last run, None before.
        firings: seconds of all handlers together at each firing, by event.

    Args:
        names: how a handler is called in the results.
    """

    def __init__(self, names: Callable[[Call], str]) -> None:
        self._name_of = names
        self._phase: tuple[str, float] | None = None
        self._firing_key: dict[str, tuple[int, int]] = {}
        self.phases: dict[str, list[float]] = {"processing": [], "dataflow": []}
        self.calls: dict[tuple[str, str], list[float]] = {}
        self.firings: dict[str, list[float]] = {}
        self.state: Any = None

    def attach(self, engine: AnyEngine) -> None:
        """Measure an engine from its next run on; each new run starts over."""
        engine.add_event_handler(Events.STARTED, self._clear_for_run)
        # A handler at every event, so that each has a first and a last call.
        engine.add_event_handler(EventsList(*Events), self._mark)
        engine.wrap_handlers(self._wrap)

    def _clear_for_run(self, engine: AnyEngine) -> None:
        self.state = engine.state
        if not engine.state.resumed:
            for seconds in (*self.phases.values(), *self.calls.values()):
                seconds.clear()
            self.firings.clear()

    def _mark(self) -> None:
        """Do nothing, in time."""

    def _wrap(self, event: Any, handler: Call, call: Call) -> Call:
        if is_own(handler) and handler != self._mark:
            return call
        name = event if isinstance(event, str) else event.name
        is_mark = handler == self._mark
        seconds = [] if is_mark else self.calls.setdefault((name, self._name_of(handler)), [])
        begins, ends = BEGINS.get(event), ENDS.get(event)

        def timed(engine: AnyEngine, *event_args: object) -> None:
            begin = time.perf_counter()
            self._end_phase(ends, begin)
            try:
                call(engine, *event_args)
            finally:
                end = time.perf_counter()
                if not is_mark:
                    seconds.append(end - begin)
                self._count_firing(name, engine.state, end - begin)
                if begins is not None:
                    self._phase = begins, end

        return timed

    def _end_phase(self, name: str | None, now: float) -> None:
        if self._phase is not None and self._phase[0] == name:
            self.phases[name].append(now - self._phase[1])
        if name is not None:
            self._phase = None

    def _count_firing(self, name: str, state: Any, seconds: float) -> None:
        """Add a call to the firing that it belongs to: that of the same epoch and iteration."""
        firings = self.firings.setdefault(name, [])
        key = (state.epoch, state.iteration)
        if self._firing_key.get(name) == key and firings:
            firings[-1] += seconds
        else:
            firings.append(seconds)
            self._firing_key[name] = key
