"""An engine's runs: the one that is going on, and what the last one has left."""

from __future__ import annotations

from typing import Any

from camshaft.engine._data import pass_length
from camshaft.engine._last_run import LastRun
from camshaft.engine._position import Position, implied_position
from camshaft.engine._run import Run
from camshaft.engine._state import State


class RunStatus:
    """Knows whether an engine is running, and where it stands."""

    def __init__(self) -> None:
        self._run: Run | None = None  # until what it leaves is known
        self._last = LastRun()

    def going(self) -> Run | None:
        """Return the run that is going on, None when there is none."""
        run = self._run
        return run if run is not None and run.is_going else None

    def carry_out(self, run: Run) -> None:
        """Let a run go, and take note of what it leaves, however it ends."""
        self._run = run
        try:
            run.go()
        finally:
            self.settle()

    def settle(self) -> None:
        """Let a run that has ended let go of what it does not leave, and drop what was asked of it.

        This follows each run. Where a signal has cut that short, it is done when somebody asks for the next time.
        """
        run = self._run
        if run is not None and run.is_going is False:  # None: another thread, or a signal, comes before its first step
            run.leave()  # may raise what the data raises, once, or be cut short: then it is called again
            self._last, self._run = run.last_run(), None

    def last(self) -> LastRun:
        """Return what the last run has left."""
        self.settle()
        return self._last

    def replace_last(self, last: LastRun) -> None:
        """Take a loaded state, say, in place of what the last run has left."""
        suspended, self._last = self.last().suspended, last
        if suspended is not None and suspended is not last.suspended:
            suspended.fetcher.close()

    def position(self, state: State[Any, Any]) -> Position:
        """Return where the engine stands; its data is not asked for its state."""
        run = self.going()
        if run is not None:
            return run.cursor.snapshot(state.iteration)
        last = self.last()
        position = last.position or Position()
        if not last.is_implied:
            return position
        length = pass_length(state.dataloader, state.epoch_length)
        return implied_position(position.iteration, state.epoch_length, length, over=position.over)

    def saved_position(self, state: State[Any, Any]) -> Position:
        """Return the same together with what the data saves, which may be costly to ask."""
        run = self.going()
        if run is not None:
            return run.saved_position()
        if state.max_epochs is None and state.max_iters is None:
            return Position()  # without a limit the next run is a new one
        position, suspended = self.position(state), self.last().suspended
        if suspended is None or position.data_state is not None:
            return position
        if not position.pass_open and suspended.fetcher.data is not state.dataloader:
            return position  # other data was put in place, and is to be opened by the run that goes on
        return position._replace(data_state=suspended.fetcher.source.state(position))

    def is_implied(self) -> bool | None:
        """Return whether the counters of a loaded state stand for its position, None when no state was loaded last."""
        last = self._last
        return last.is_implied if self.going() is None and last.is_loaded else None

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy is made of: it stands in the same place, and nothing is going on."""
        run = self.going()
        if run is None:
            return {"_run": None, "_last": self.last()._replace(suspended=None)}
        return {"_run": None, "_last": LastRun(run.saved_position(), is_loaded=True)}
