"""One call of `run`: its way from event to event, and how it ends."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from camshaft.engine._data import make_source
from camshaft.engine._dispatch import NEVER
from camshaft.engine._emitter import Emitter
from camshaft.engine._errors import ArgumentError, EngineWarning
from camshaft.engine._events import Events
from camshaft.engine._fetcher import END, Fetcher
from camshaft.engine._iterate import (
    GET_BATCH_COMPLETED,
    GET_BATCH_STARTED,
    ITERATION_COMPLETED,
    ITERATION_STARTED,
    PLACES,
    Tables,
    iterate_stretch,
)
from camshaft.engine._last_run import FoundLength, LastRun, Suspended
from camshaft.engine._nesting import NestedRun, come_back, go_inside
from camshaft.engine._position import Cursor, Position
from camshaft.engine._registry import Registry
from camshaft.engine._requests import Requests
from camshaft.engine._run_plan import RunPlan, moved_position
from camshaft.engine._state import State, checked_epoch_length, checked_limits, reset
from camshaft.engine._stops import fail, heed, terminate
from camshaft.engine._stopwatch import Stopwatch

if TYPE_CHECKING:
    from camshaft.engine._engine import Engine

EPOCH_STARTED = Events.EPOCH_STARTED
EPOCH_COMPLETED = Events.EPOCH_COMPLETED


class Run:
    """One call of `run`: moves the cursor from event to event.

    The cursor is the program counter: `stage` is the next event to fire, and each stage below does the work
    in front of an event, moves the cursor on and fires it. So a run can be entered and left at any event, and
    there is one place, `heed`, where a request takes effect.

    Attributes:
        cursor: where the run stands.
        requests: what is asked of it.
        emitter: fires its events.
        fetcher: holds its data.
        epoch_watch, run_watch: measure the time of the epoch and of the run.
        suspended: what is kept of the run once it is interrupted.
        has_failed: whether something has raised.
        is_going: whether the call of `run` goes on; None until it does.
        outer: the run in a handler or a step of which this one goes on.
    """

    def __init__(
        self, engine: Engine[Any, Any], plan: RunPlan, last: LastRun, registry: Registry, requests: Requests
    ) -> None:
        self.engine = engine
        self.cursor = Cursor(plan.position)
        self.emitter = Emitter(engine, registry, requests)
        self.is_going: bool | None = None
        self.outer: NestedRun | None = None
        self._plan = plan
        self._registry = registry
        self.requests = requests
        self._last = last
        # Counters that a user has set lead away from where the run was suspended.
        is_there = last.position is not None and plan.position[:3] == last.position[:3]
        self._continues = last.suspended if plan.resumed and is_there else None
        self.epoch_watch = Stopwatch() if self._continues is None else self._continues.epoch_watch
        self.run_watch = Stopwatch() if self._continues is None else self._continues.run_watch
        self._found_length = last.found_length
        self._new_data_at: tuple[int, int] | None = None  # iterations done, and the second pass over new data
        self.fetcher = Fetcher(None, make_source(None))  # until the run has begun
        self._batch: Any = END  # fetched by an interrupted run that this one continues
        self._has_begun = self._was_terminated = self.has_failed = False
        self.suspended: Suspended | None = None
        self._left_at: Position | None = None
        self._is_closed = False

    def go(self) -> None:
        """Run to the end, whatever it is.

        Whether the run is going on is one store, before the first statement that a signal can cut short and
        after the last: an exception that comes at any moment cannot leave the engine running for ever.
        """
        go_inside(self)
        self.is_going = True
        try:
            self._follow_stages()
        except BaseException as error:  # noqa: BLE001  # raised again, unless a handler has dealt with it
            told = self.requests.explain(error)
            try:
                if not fail(self, told):
                    if told is error:
                        raise
                    raise told from error
            finally:
                del told  # its traceback leads here: a cycle would keep the engine
        finally:
            self.is_going = False
            come_back(self)

    # ------------------------------------------------------------------ the way of a run

    def _follow_stages(self) -> None:
        """Go from stage to stage until nothing is left, or a stop is heeded, or something raises."""
        stages = {
            EPOCH_STARTED: self._start_epoch,
            GET_BATCH_STARTED: self._iterate,
            GET_BATCH_COMPLETED: self._iterate,
            ITERATION_STARTED: self._iterate,
            ITERATION_COMPLETED: self._iterate,
            Events.TERMINATE_SINGLE_EPOCH: self._end_epoch_early,
            EPOCH_COMPLETED: self._complete_epoch,
            Events.COMPLETED: self._complete,
        }
        self._begin()
        if self._continues is None:
            self.emitter.fire(Events.STARTED, value=self.cursor.epoch)
            self._follow_counters()
            if self._is_left():
                return
        if self._plan.resumed:
            self._reenter()
        while not self._is_left():
            stages[self.cursor.stage]()

    def _begin(self) -> None:
        """Make the state that of this run: nothing can be refused any more."""
        engine, plan, requests, kept = self.engine, self._plan, self.requests, self._last.suspended
        state = engine.state
        if not plan.resumed or self._last.is_loaded or plan.data is not state.dataloader:
            self._new_data_at = plan.position.iteration, plan.position.data_pass + 1
        keeps_iterator = self._continues is not None and plan.data is state.dataloader
        if not plan.resumed:
            reset(state)
        # Stores and nothing else: a signal finds the state before all of them or after all of them.
        state.dataloader, state.epoch_length, state.seed = plan.data, plan.epoch_length, plan.seed
        state.max_epochs, state.max_iters, state.resumed = plan.max_epochs, plan.max_iters, plan.resumed
        state.epoch, state.iteration = plan.position.epoch, plan.position.iteration
        self._has_begun = True
        if kept is not None and keeps_iterator:
            self.fetcher, self._batch = kept.fetcher, kept.batch
            if requests.new_data is not None and requests.new_data.data is not plan.data:
                requests.new_data = None  # given before a run that is given its data
        else:
            requests.new_data = None
            if kept is not None:
                kept.fetcher.close()
            self.fetcher = Fetcher(plan.data, engine.make_source(plan.data))
        self._registry.rewind()
        requests.notice()  # what was asked for before the run
        engine.logger.info("run %s: %s", "continues" if plan.resumed else "starts", plan.limit_text())

    def _follow_counters(self) -> None:
        """Move the run to where a handler of STARTED has put `state.epoch` or `state.iteration`."""
        state, cursor = self.engine.state, self.cursor
        if (state.epoch, state.iteration) == (cursor.epoch, cursor.done):
            return
        max_epochs, max_iters = self.limits()
        plan = self._plan.replace(
            data=state.dataloader, epoch_length=state.epoch_length, max_epochs=max_epochs, max_iters=max_iters
        )
        try:
            position = moved_position(state, cursor.snapshot(cursor.done), plan)
        except ArgumentError:
            state.epoch, state.iteration = cursor.epoch, cursor.done
            raise
        self.cursor, self._plan = Cursor(position), plan.replace(resumed=True)
        state.epoch, state.iteration, state.resumed = position.epoch, position.iteration, True

    def _reenter(self) -> None:
        """Go on where an earlier run was left: open its data, take up its batch."""
        fetcher, cursor, state = self.fetcher, self.cursor, self.engine.state
        if self._continues is not None:
            self.epoch_watch.resume()
            self.run_watch.resume()
        if fetcher.iterator is None and cursor.pass_open:
            cursor, fetcher = self._open_pass(), self.fetcher
        self.engine.resumed(cursor.snapshot(cursor.done))
        if cursor.stage not in (ITERATION_STARTED, ITERATION_COMPLETED):
            return
        if self._batch is END:
            if fetcher.iterator is None:
                cursor = self._open_pass()
            self._batch = self.fetcher.fetch()
        state.batch, self._batch = self._batch, END
        if state.batch is END:
            self._end_data(state)
        elif cursor.stage is ITERATION_COMPLETED:
            state.iteration = cursor.done + 1

    # ------------------------------------------------------------------ epochs

    def _start_epoch(self) -> None:
        cursor = self.cursor
        max_iters = self.limits()[1]
        # Where iterations are counted and no more can come, no number of epochs would end the run.
        if self.is_finished() or (max_iters is not None and cursor.is_exhausted()):
            self._complete()
            return
        then = cursor.at_next_epoch()
        self.engine.state.epoch = then.epoch
        self.epoch_watch.restart()
        self._registry.rewind()  # an epoch that was ended early may have asked about a fetch that comes again
        self._fire(EPOCH_STARTED, then)

    def _end_epoch_early(self) -> None:
        cursor = self.cursor
        stage = EPOCH_STARTED if cursor.skips_epoch_completed else EPOCH_COMPLETED
        then = cursor.moved(stage=stage, skips_epoch_completed=False)
        self._fire(Events.TERMINATE_SINGLE_EPOCH, then, cursor.done - cursor.epoch_start)
        self.requests.terminate_epoch = None  # it is ending already

    def _complete_epoch(self) -> None:
        self._fire_timed(EPOCH_COMPLETED, self.cursor.moved(stage=EPOCH_STARTED), self.epoch_watch)
        self.engine.logger.info("epoch %d completed: %d iterations in all", self.cursor.epoch, self.cursor.done)

    def _complete(self) -> None:
        self.complete(self.cursor.moved(over=True))

    def complete(self, then: Cursor) -> None:
        """Fire COMPLETED, with which the run stands at `then`."""
        self._fire_timed(Events.COMPLETED, then, self.run_watch)

    # ------------------------------------------------------------------ firing

    def _fire(self, event: Events, then: Cursor, *event_args: object) -> None:
        """Fire an event, with which the run stands at `then`."""
        call = self.emitter.prepare(event, then.epoch)
        self.cursor = then  # right before the call, so that no signal finds an event that counts and was not fired
        if call is not None:
            call(self.engine, *event_args)
        self.emitter.firing = None

    def _fire_timed(self, event: Events, then: Cursor, watch: Stopwatch) -> None:
        """Fire an event whose handlers read the time up to it; afterwards it includes theirs."""
        self.engine.state.times[event.name] = watch.seconds()
        self._fire(event, then)
        self.engine.state.times[event.name] = watch.seconds()

    # ------------------------------------------------------------------ iterations

    def _iterate(self) -> None:
        """Do iterations from wherever the cursor stands, a stretch at a time."""
        requests, state = self.requests, self.engine.state
        epoch_end, stop = self._ends()
        if self.cursor.done >= epoch_end:
            self.cursor.stage = EPOCH_COMPLETED
        elif self.cursor.done >= stop:  # `max_iters` cuts the epoch short
            self.cursor.stage = Events.COMPLETED
            terminate(self)
        tables = self._tables()
        while True:  # not `while <condition>`: Python 3.11 compiles such a loop into slower code
            cursor, fetcher = self.cursor, self.fetcher
            if cursor.done >= stop or cursor.stage not in PLACES:
                return
            if fetcher.iterator is None:
                cursor, tables = self._open_pass(), self._tables()
            iterator: Any = self.fetcher.iterator
            outcome = iterate_stretch(self.engine, cursor, requests, iterator, tables, epoch_end, stop)
            if outcome is not None:
                self._follow_up(outcome, state)
            if requests.signal:
                return

    def _tables(self) -> Tables:
        return Tables(self._registry, has_data=self.engine.state.dataloader is not None)

    def _follow_up(self, outcome: Any, state: State[Any, Any]) -> None:
        """Follow a fetch or a step that has changed something: the end of the data, handlers, the state, a stop."""
        cursor, engine = self.cursor, self.engine
        if outcome is END:
            self._end_data(state)
            return
        if engine.state is not state:
            engine.state.batch, engine.state.output = state.batch, state.output
        if outcome is GET_BATCH_COMPLETED:
            cursor.stage = ITERATION_STARTED
        if (call := self._tables().again(outcome, cursor.done)) is not None:
            engine.last_event_name = outcome
            call(engine)

    def _ends(self) -> tuple[int, int]:
        """Return the iteration counts at which the epoch ends, and at which iterating stops."""
        length, max_iters = checked_epoch_length(self.engine.state), self.limits()[1]
        epoch_end = NEVER if length is None else self.cursor.epoch_start + length
        return epoch_end, epoch_end if max_iters is None else min(epoch_end, max_iters)

    # ------------------------------------------------------------------ data

    def _take_data(self) -> Fetcher:
        """Return the fetcher of the data that is in the state now: a handler may have put other data there."""
        self.fetcher = self.fetcher.for_data(self.engine.state.dataloader, self.engine.make_source)
        return self.fetcher

    def _open_pass(self) -> Cursor:
        """Open the data that is in the state now, where the cursor stands."""
        self._take_data().open(self.cursor.snapshot(self.cursor.done))
        self.cursor = self.cursor.in_open_pass()
        return self.cursor

    def _end_data(self, state: State[Any, Any]) -> None:
        """Let the data start again; or end the epoch, where its length is found or nothing more comes."""
        cursor, fetcher = self.cursor, self.fetcher
        count = cursor.done - cursor.epoch_start
        state.batch = None
        if self.engine.state.epoch_length is None and count:
            self.engine.state.epoch_length = count
            if cursor.pass_start == cursor.epoch_start:
                self._found_length = FoundLength(fetcher.data, count)
            fetcher.iterator = iter(())  # it has ended, also if it would begin anew by itself
            cursor.stage = EPOCH_COMPLETED
        elif cursor.is_exhausted():
            position = cursor.snapshot(cursor.done)
            is_new = (cursor.done, cursor.data_pass) == self._new_data_at
            fetcher.warn_exhausted(position, self.engine.state.epoch_length, is_new=is_new)
            cursor.stage = EPOCH_COMPLETED
        else:
            fetcher.warn_if_short(cursor.done - cursor.pass_start)
            fetcher.iterator = None
            then = cursor.at_next_pass(stage=GET_BATCH_COMPLETED, awaits_data=True)
            self._fire(Events.DATALOADER_STOP_ITERATION, then)

    def limits(self) -> tuple[int | None, int | None]:
        """Return max_epochs and max_iters as they are now; taking both away is meant for the next run."""
        state, plan = self.engine.state, self._plan
        if state.max_epochs is None and state.max_iters is None:
            return plan.max_epochs, plan.max_iters
        return checked_limits(state)

    def is_finished(self) -> bool:
        """Return whether nothing but COMPLETED is left."""
        return self.cursor.is_finished(*self.limits())

    def _is_left(self) -> bool:
        requests, is_over = self.requests, self.cursor.over
        return heed(self) if requests.signal or (is_over and requests.awaited) else is_over

    # ------------------------------------------------------------------ leaving

    def leave(self) -> None:
        """Let go of iterator and batch, and put the counters back to what is done.

        Does nothing that it has done before: a signal may cut it short, and it is called again then.
        """
        requests, state = self.requests, self.engine.state
        if not self._has_begun:
            return
        if self._left_at is None:
            position = self.cursor.snapshot(state.iteration)
            is_moved = requests.new_data is not None and self.suspended is None
            self._left_at = position.at_next_pass() if is_moved else position
        state.epoch, state.iteration, state.batch = self._left_at.epoch, self._left_at.iteration, None
        self._was_terminated = self._was_terminated or requests.terminate is not None
        pending = None if self.suspended is None else requests.new_data
        requests.drop()
        requests.new_data = pending
        if self.suspended is None and not self._is_closed:
            try:
                self._left_at = self._with_data_state(self._left_at)
            except Exception as error:
                self._is_closed = True  # what the data raises is told once, not whenever the run is looked at
                self.fetcher.close()
                if not self.has_failed:
                    raise
                text = f"the data has raised {error!r} when it was asked for its state: it is not saved"
                warnings.warn(text, EngineWarning, stacklevel=2)
            self._is_closed = True
            self.fetcher.close()

    def last_run(self) -> LastRun:
        """Return what is left for the next call of `run`."""
        if not self._has_begun:
            return self._last
        found = self._found_length
        return LastRun(
            position=self._left_at,
            was_terminated=self._was_terminated,
            is_exact=not self.has_failed,
            suspended=self.suspended,
            found_length=None if found is None or found.data is not self.engine.state.dataloader else found,
        )

    def saved_position(self) -> Position:
        """Return where the run stands, together with what its data saves, which may be costly to ask."""
        return self._with_data_state(self.cursor.snapshot(self.engine.state.iteration))

    def _with_data_state(self, position: Position) -> Position:
        # What was saved before counts until the run has opened the data.
        if position.data_state is not None:
            return position
        fetcher = self.fetcher if position.pass_open else self._take_data()
        return position._replace(data_state=fetcher.source.state(position))
