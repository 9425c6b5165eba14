"""The half of an engine that takes requests: stop, other data, safe points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camshaft.engine._control import Control, running
from camshaft.engine._errors import RunningError
from camshaft.engine._events import Events
from camshaft.engine._source import require_data


class Controllable:
    """Something whose run can be asked to stop: a base class of `Engine`."""

    state: Any

    def __init__(self) -> None:
        self._control = Control()

    @property
    def is_running(self) -> bool:
        """Whether a run of this engine is going on."""
        return self._control.is_running

    @property
    def is_exact(self) -> bool:
        """Whether a state saved now continues exactly.

        False while an exception is handled, and when a run ends with safe points held back.
        """
        return self._control.is_exact

    def set_data(self, data: Any) -> None:
        """Let the next batch come from other data; `epoch_length` stays.

        Before a run it counts only if `run()` is given no data.

        Args:
            data: as for `run`.

        Raises:
            ArgumentTypeError: `data` is not iterable.
            ArgumentError: `data` has no batch.
        """
        require_data(data)
        control = self._control
        if not control.is_running:
            control.next_data = data
            return
        self.state.dataloader = data
        control.new_data = True
        control.notice()

    def terminate(self, skip_completed: bool = False) -> None:
        """End the run after the current event: TERMINATE and COMPLETED follow.

        From inside the step ITERATION_COMPLETED comes first. The epoch keeps its remaining
        iterations: the next `run` goes on with them. Before a run, the next run ends after STARTED.

        Args:
            skip_completed: leave COMPLETED out.
        """
        control = self._control
        if not control.is_running:
            control.early_terminate = skip_completed
            return
        control.terminate, control.skip_completed = True, skip_completed
        control.notice()

    def terminate_epoch(self, skip_epoch_completed: bool = False) -> None:
        """End the epoch after the current event; the next epoch begins a new pass over the data.

        TERMINATE_SINGLE_EPOCH and EPOCH_COMPLETED follow. At EPOCH_COMPLETED it has no effect.

        Args:
            skip_epoch_completed: leave EPOCH_COMPLETED out.

        Raises:
            RunningError: no run is going on, or the epoch has not begun (at STARTED, EPOCH_STARTED).
        """
        control = self._control
        if not control.is_running:
            raise RunningError("terminate_epoch() must be called inside a run; no run is going on")
        if control.firing in (Events.STARTED, Events.EPOCH_STARTED):
            raise RunningError(f"terminate_epoch() must be called inside an epoch, got it at {control.firing}")
        control.terminate_epoch, control.skip_epoch_completed = True, skip_epoch_completed
        control.notice()

    def interrupt(self) -> None:
        """Suspend the run after the current event: INTERRUPT is the last one.

        `run()` returns the state, and the next `run()` goes on with the same iterator. Setting
        `state.max_epochs = None`, or loading a state, drops the suspended run.

        Raises:
            RunningError: no run is going on.
        """
        if not self._control.is_running:
            raise RunningError("interrupt() must be called inside a run; no run is going on")
        self._control.interrupt = True
        self._control.notice()

    @property
    def should_terminate(self) -> bool:
        """Whether the run is asked to end; true after a terminated run until the next one begins."""
        return self._control.terminate or self._control.early_terminate is not None

    @property
    def should_terminate_single_epoch(self) -> bool:
        """Whether the epoch is asked to end."""
        return self._control.terminate_epoch

    @property
    def should_interrupt(self) -> bool:
        """Whether the run is asked to suspend itself."""
        return self._control.interrupt

    def at_safe_point(self, callback: Callable[[], object]) -> None:
        """Call `callback` once all handlers of the current event of the outermost engine have run.

        That is before a stop takes effect and before the next batch is fetched, so what it saves
        does not depend on the order of handlers. What is asked for between a fetch and the end of
        its step waits for ITERATION_COMPLETED. When no engine runs in this thread it is called at once.

        Examples:
            >>> from camshaft.engine import Engine, Events
            >>> engine = Engine(lambda engine, batch: batch)
            >>> @engine.on(Events.EPOCH_COMPLETED)
            ... def save():
            ...     engine.at_safe_point(lambda: print("saved"))
            >>> @engine.on(Events.EPOCH_COMPLETED)
            ... def schedule():
            ...     print("scheduled")
            >>> state = engine.run([1])
            scheduled
            saved
        """
        if running.controls:
            running.controls[0].at_safe_point(callback)
        else:
            callback()

    def hold_safe_points(self, predicate: Callable[[], bool]) -> None:
        """Let safe points of this engine wait while `predicate()` is true.

        Asked only while something waits: an open window of accumulated gradients, say.
        """
        self._control.holds.append(predicate)
