"""How a run fires the built-in events, and how it ends: what every stage of the loop uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from camshaft.engine._control import Control
from camshaft.engine._events import Events
from camshaft.engine._feed import Feed
from camshaft.engine._plan import RunPlan
from camshaft.engine._position import Cursor
from camshaft.engine._registry import Registry
from camshaft.engine._stopwatch import Stopwatch

if TYPE_CHECKING:
    from camshaft.engine._engine import Engine


class Suspended(NamedTuple):
    """What an interrupted run keeps besides its position, so that it goes on as if nothing had been."""

    iterator: Iterator[Any] | None
    batch: Any
    has_batch: bool
    new_data: bool
    epoch_watch: Stopwatch
    run_watch: Stopwatch


class Firing:
    """One call of `run`, apart from its way through epochs and iterations.

    Attributes:
        engine, plan, cursor, control: what runs, what it is going to do, where it stands, what is asked of it.
        suspended: what an interrupted run keeps; None when the run was left in another way.
    """

    def __init__(
        self,
        engine: Engine[Any, Any],
        plan: RunPlan,
        cursor: Cursor,
        registry: Registry,
        control: Control,
        suspended: Suspended | None,
    ) -> None:
        self.engine = engine
        self.plan = plan
        self.cursor = cursor
        self.control = control
        self.suspended: Suspended | None = None
        self._registry = registry
        self._continues = suspended
        self._feed = Feed(engine, cursor, None if suspended is None else suspended.iterator)
        self._epoch_watch = Stopwatch() if suspended is None else suspended.epoch_watch
        self._run_watch = Stopwatch() if suspended is None else suspended.run_watch

    def fail(self, error: BaseException) -> bool:
        """Fire EXCEPTION_RAISED; return whether one of its handlers asked for a clean end instead."""
        control = self.control
        self._write_stage()
        control.terminate = control.skip_completed = False
        control.is_exact = False  # until the run is left: what raised may be half done
        self._fire_last(Events.EXCEPTION_RAISED, error)
        if control.terminate:
            self._terminate()
        return control.terminate

    def _limits(self) -> tuple[int | None, int | None]:
        """Return max_epochs and max_iters as they are now; taking both away is meant for the next run."""
        state, plan = self.engine.state, self.plan
        if state.max_epochs is None and state.max_iters is None:
            return plan.max_epochs, plan.max_iters
        return state.max_epochs, state.max_iters

    def _terminate(self) -> None:
        """End the run: TERMINATE, and COMPLETED unless it was skipped or has been fired already."""
        cursor = self.cursor
        was_over = cursor.over
        self._fire_last(Events.TERMINATE)
        self._write_stage()
        cursor.over = was_over or cursor.is_finished(*self._limits())
        if not was_over and not self.control.skip_completed:
            self._fire_timed(Events.COMPLETED, self._run_watch)
        self._last_safe_point()

    def _write_stage(self) -> None:
        self.cursor.stage = self.cursor.stage_at(self.engine.state.iteration)

    def _fire(self, event: Events, *event_args: object, value: int = 0) -> None:
        self.control.firing = event
        self.engine.last_event_name = event
        if (call := self._registry.agenda(event).at(value)) is not None:
            call(self.engine, *event_args)
        self.control.firing = None

    def _fire_last(self, event: Events, *event_args: object) -> None:
        """Fire an event after which there may be no other: what waits for a safe point waits no longer."""
        self._fire(event, *event_args)
        self._last_safe_point()

    def _fire_timed(self, event: Events, watch: Stopwatch, value: int = 0) -> None:
        """Fire an event whose handlers read the time up to it; afterwards it includes theirs."""
        self.engine.state.times[event.name] = watch.seconds()
        self._fire(event, value=value)
        self.engine.state.times[event.name] = watch.seconds()

    def _last_safe_point(self) -> None:
        control = self.control
        if control.callbacks:
            was_exact, control.is_exact = control.is_exact, control.is_exact and not control.is_held()
            try:
                control.reach_safe_point()
            finally:
                control.is_exact = was_exact
