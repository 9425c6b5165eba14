"""Measure the time between events."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from camshaft.engine import CallableEventWithFilter, Engine, Events, EventsList, StateDictError
from camshaft.handlers._number import is_number
from camshaft.handlers._saved_state import require_integer, require_keys

When = CallableEventWithFilter | EventsList


class Timer:
    """A stopwatch that counts steps: `value()` is the total time, or the time per step.

    It runs as soon as it is made. `reset`, `pause`, `resume` and `step` ignore their arguments, so they can be attached
    as handlers.

    Args:
        average: whether `value()` is the time per step.
        clock: returns the time in seconds; it must never go back.

    Attributes:
        step_count: how often `step` was called since the last reset.
        running: whether time is being counted.

    Examples:
        >>> ticks = iter(range(100))
        >>> timer = Timer(average=True, clock=lambda: next(ticks))
        >>> for _ in range(3):
        ...     timer.step()
        >>> timer.pause()
        >>> timer.total, timer.value()
        (1.0, 0.3333333333333333)
    """

    def __init__(self, average: bool = False, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._average = average
        self._clock = clock
        self._counted_s = 0.0
        self._resumed_at = clock()
        self.step_count = 0
        self.running = True

    @property
    def total(self) -> float:
        """Seconds counted since the last reset, until now if the timer is running."""
        return self._counted_s + (self._clock() - self._resumed_at if self.running else 0.0)

    def attach(
        self,
        engine: Engine[Any, Any],
        start: When = Events.STARTED,
        pause: When = Events.COMPLETED,
        resume: When | None = None,
        step: When | None = None,
    ) -> Timer:
        """Drive the timer by events of an engine.

        Args:
            engine: the engine.
            start: the event that resets and starts the timer. At STARTED a continued run only resumes the timer, so
                what was restored is kept.
            pause: the event that stops counting time.
            resume: the event that continues counting time; None for none.
            step: the event that counts a step; None for none.

        Returns:
            The timer itself.

        Examples:
            >>> engine = Engine(lambda engine, batch: None)
            >>> timer = Timer(average=True).attach(
            ...     engine,
            ...     start=Events.EPOCH_STARTED,
            ...     resume=Events.ITERATION_STARTED,
            ...     pause=Events.ITERATION_COMPLETED,
            ...     step=Events.ITERATION_COMPLETED,
            ... )
            >>> state = engine.run(range(5))
            >>> timer.step_count
            5
        """
        engine.add_event_handler(start, self._start)
        engine.add_event_handler(pause, self.pause)
        if resume is not None:
            engine.add_event_handler(resume, self.resume)
        if step is not None:
            engine.add_event_handler(step, self.step)
        return self

    def reset(self, *_: Any) -> Timer:
        """Start again at zero, running; return the timer itself."""
        self._counted_s = 0.0
        self._resumed_at = self._clock()
        self.step_count = 0
        self.running = True
        return self

    def pause(self, *_: Any) -> None:
        """Stop counting time."""
        if self.running:
            self._counted_s = self.total
            self.running = False

    def resume(self, *_: Any) -> None:
        """Continue counting time."""
        if not self.running:
            self._resumed_at = self._clock()
            self.running = True

    def value(self) -> float:
        """Return the total in seconds, or the seconds per step of an averaging timer."""
        return self.total / max(self.step_count, 1) if self._average else self.total

    def step(self, *_: Any) -> None:
        """Count a step."""
        self.step_count += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the time counted so far, the steps, and whether the timer is running."""
        return {"total": self.total, "step_count": self.step_count, "running": self.running}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a saved state; the time between saving and loading is not counted.

        Args:
            state_dict: what `state_dict` returned.

        Raises:
            StateDictError: an entry is missing, unknown or out of its range; nothing is changed then.
        """
        total, step_count, running = require_keys(state_dict, "total", "step_count", "running")
        if not is_number(total) or not 0 <= total < math.inf:
            raise StateDictError(f"`total` must be seconds of at least 0, got {total!r}")
        count = require_integer("step_count", step_count)
        if not isinstance(running, bool):
            raise StateDictError(f"`running` must be True or False, got {running!r}")
        self._counted_s, self.step_count, self.running = float(total), count, running
        self._resumed_at = self._clock()

    def _start(self, engine: Engine[Any, Any]) -> None:
        if engine.last_event_name == Events.STARTED and engine.state.resumed:
            self.resume()
        else:
            self.reset()
