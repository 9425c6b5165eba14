"""The only loop, and the only place that fires the built-in events."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from camshaft.engine._calling import Call
from camshaft.engine._control import Control
from camshaft.engine._events import Events
from camshaft.engine._feed import END, Feed
from camshaft.engine._plan import RunPlan, is_limit_reached
from camshaft.engine._position import Cursor
from camshaft.engine._registry import NEVER, Agenda, Registry
from camshaft.engine._stopwatch import Stopwatch

if TYPE_CHECKING:
    from camshaft.engine._engine import Engine
    from camshaft.engine._state import State

# Read as globals in the loop: an attribute of an enum is a slow thing to look up.
GET_BATCH_STARTED = Events.GET_BATCH_STARTED
GET_BATCH_COMPLETED = Events.GET_BATCH_COMPLETED
ITERATION_STARTED = Events.ITERATION_STARTED
ITERATION_COMPLETED = Events.ITERATION_COMPLETED
EPOCH_COMPLETED = Events.EPOCH_COMPLETED
ITERATION_ORDER = (GET_BATCH_STARTED, GET_BATCH_COMPLETED, ITERATION_STARTED, ITERATION_COMPLETED)


class Suspended(NamedTuple):
    """What an interrupted run keeps besides its position, so that it goes on as if nothing had been."""

    iterator: Iterator[Any] | None
    batch: Any
    has_batch: bool
    epoch_watch: Stopwatch
    run_watch: Stopwatch


class Loop:
    """One call of `run`: moves the cursor from event to event.

    The cursor is the program counter: `stage` is the next event to fire, and each method below
    does the work in front of an event, moves the cursor on and fires it. So a run can be entered
    and left at any event, and there is one place, `_heed`, where a stop takes effect.
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
        self._agendas = tuple(
            registry.agenda(event)
            for event in (GET_BATCH_STARTED, GET_BATCH_COMPLETED, ITERATION_STARTED, ITERATION_COMPLETED)
        )
        if plan.data is None:  # batches that are None are not fetched, so nothing is fired about it
            self._agendas = (Agenda(), Agenda(), *self._agendas[2:])
        self._continues = suspended
        self._feed = Feed(engine, cursor, None if suspended is None else suspended.iterator)
        self._epoch_watch = Stopwatch() if suspended is None else suspended.epoch_watch
        self._run_watch = Stopwatch() if suspended is None else suspended.run_watch

    # ------------------------------------------------------------------ the way of a run

    def run(self) -> None:
        """Go from stage to stage until nothing is left, or a stop is heeded, or something raises."""
        stages = {
            Events.EPOCH_STARTED: self._start_epoch,
            GET_BATCH_STARTED: self._iterate,
            GET_BATCH_COMPLETED: self._iterate,
            ITERATION_STARTED: self._iterate,
            ITERATION_COMPLETED: self._iterate,
            EPOCH_COMPLETED: self._complete_epoch,
        }
        cursor, control = self.cursor, self.control
        if self._continues is None:
            self._fire(Events.STARTED)
            if control.signal and self._heed():
                return
        self._reenter()
        while not cursor.over:
            stages[cursor.stage]()
            if control.signal and self._heed():
                return

    def fail(self, error: BaseException) -> bool:
        """Fire EXCEPTION_RAISED; return whether one of its handlers asked for a clean end instead."""
        control = self.control
        self._write_stage()
        control.terminate = control.skip_completed = False
        control.is_exact = False
        try:
            self._fire_last(Events.EXCEPTION_RAISED, error)
        finally:
            control.is_exact = True
        if control.terminate:
            self._terminate()
        return control.terminate

    def leave(self) -> None:
        """Let go of iterator and batch, and leave the counters at what was completed."""
        self._write_stage()
        state = self.engine.state
        state.iteration = self.cursor.done
        state.batch = None
        self._feed.iterator = None
        self.control.callbacks.clear()  # empty unless one of them raised

    # ------------------------------------------------------------------ epochs

    def _start_epoch(self) -> None:
        cursor, state = self.cursor, self.engine.state
        if self._feed.is_dry or is_limit_reached(cursor.snapshot(cursor.done), state.max_epochs, state.max_iters):
            self._complete()
            return
        cursor.epoch += 1
        cursor.epoch_start = cursor.done
        cursor.stage = GET_BATCH_STARTED
        state.epoch = cursor.epoch
        self._epoch_watch.restart()
        self._fire(Events.EPOCH_STARTED, value=cursor.epoch)

    def _complete_epoch(self) -> None:
        self.cursor.stage = Events.EPOCH_STARTED
        self._fire_timed(EPOCH_COMPLETED, self._epoch_watch, value=self.cursor.epoch)
        self.engine.logger.info("epoch %d completed: %d iterations in all", self.cursor.epoch, self.cursor.done)

    def _complete(self) -> None:
        self.cursor.over = True
        self._fire_timed(Events.COMPLETED, self._run_watch)

    # ------------------------------------------------------------------ iterations

    def _iterate(self) -> None:
        """Do iterations from wherever the cursor stands: a span at a time, each with the same calls.

        A span ends before the next iteration with a scheduled handler, and before the epoch's last
        one: these are done by themselves, and so is one that is entered in its middle.
        """
        cursor, control = self.cursor, self.control
        epoch_end, stop = self._ends()
        on_fetch, on_fetched, on_start, on_end = self._agendas
        is_quiet = all(agenda.ready is None for agenda in self._agendas)
        while not control.signal:
            if cursor.stage is EPOCH_COMPLETED:
                break
            if cursor.done >= stop:
                self._stop_iterating(epoch_end)
                break
            if self._feed.iterator is None:
                self._feed.open()
            by_itself = min(on_fetch.next_due + 1, on_fetched.next_due + 1, on_start.next_due, on_end.next_due, stop)
            if by_itself <= cursor.done + 1 or cursor.stage is not GET_BATCH_STARTED:
                then = GET_BATCH_STARTED if cursor.done + 1 < epoch_end else EPOCH_COMPLETED
                self._iterate_span(cursor.done + 1, self._calls_at(cursor.done), then)
            elif is_quiet and (last := min(by_itself, on_fetch.next_due) - 1) > cursor.done:
                self._iterate_quietly(last)
            else:
                self._iterate_span(by_itself - 1, [agenda.ready for agenda in self._agendas], GET_BATCH_STARTED)

    def _calls_at(self, done: int) -> list[Call | None]:
        """Return what the next iteration calls at its four events; None where one was fired already."""
        calls: list[Call | None] = [None, None, None, None]
        for place in range(ITERATION_ORDER.index(self.cursor.stage), 4):
            agenda, value = self._agendas[place], done if place < 2 else done + 1
            calls[place] = agenda.ready if value < agenda.next_due else agenda.at(value)
        return calls

    def _iterate_span(  # noqa: PLR0911  # each way out is a place where the run can be left
        self, last: int, calls: list[Call | None], then: Events
    ) -> None:
        """Do the iterations up to `last`, or to a signal, or to the end of the data.

        Args:
            last: number of the last iteration.
            calls: what to call at each of the four events.
            then: the stage behind each of the iterations.
        """
        engine, cursor, control, iterator = self.engine, self.cursor, self.control, self._feed.iterator
        state, step, done = engine.state, engine.process_function, cursor.done
        on_fetch, on_fetched, on_start, on_end = calls
        has_batch = cursor.stage is ITERATION_STARTED or cursor.stage is ITERATION_COMPLETED
        for number in range(done + 1, last + 1):
            if on_fetch is not None:
                cursor.stage = GET_BATCH_COMPLETED
                on_fetch(engine)
                if control.signal:
                    return
            if has_batch:
                has_batch = False
            else:
                # Released before the next one is fetched: two batches never lie in memory together.
                state.batch = None
                state.batch = batch = next(iterator, END)  # type: ignore[arg-type]  # opened by the caller
                if batch is END:
                    state.batch = None
                    self._data_ended()
                    return
                batch = None
                if control.signal:
                    self._follow(GET_BATCH_COMPLETED, state)
                    return
            if on_fetched is not None:
                cursor.stage = ITERATION_STARTED
                on_fetched(engine)
                if control.signal:
                    return
            state.iteration = number
            if on_start is not None:
                on_start(engine)
                if control.signal:
                    return
            state.output = step(engine, state.batch)
            cursor.done = number
            cursor.stage = then
            if control.signal:
                self._follow(ITERATION_COMPLETED, state)
                return
            if on_end is not None:
                on_end(engine)
                if control.signal:
                    return

    def _iterate_quietly(self, last: int) -> None:
        """The same for iterations that nobody listens to."""
        engine, cursor, control, iterator = self.engine, self.cursor, self.control, self._feed.iterator
        state, step, number = engine.state, engine.process_function, cursor.done
        for batch in islice(iterator, last - number):  # type: ignore[arg-type]  # opened by the caller
            state.batch = batch
            if control.signal:
                self._follow(GET_BATCH_COMPLETED, state)
                return
            state.iteration = number = number + 1
            state.output = step(engine, batch)
            cursor.done = number
            if control.signal:
                self._follow(ITERATION_COMPLETED, state)
                return
            # Released before the next one is fetched: two batches never lie in memory together.
            batch = state.batch = None
        if number < last:
            self._data_ended()

    def _follow(self, event: Events, state: State[Any, Any]) -> None:
        """Fire the event behind a fetch or a step that has changed something: handlers, the state, a stop."""
        cursor, engine = self.cursor, self.engine
        agenda = self._agendas[ITERATION_ORDER.index(event)]
        if event is GET_BATCH_COMPLETED:
            cursor.stage = ITERATION_STARTED
        elif engine.state is not state:
            engine.state.output = state.output
        agenda.rewind()
        if (call := agenda.at(cursor.done)) is not None:
            call(engine)

    def _ends(self) -> tuple[int, int]:
        """Return the iteration counts at which the epoch ends, and at which iterating stops."""
        state = self.engine.state
        epoch_end = NEVER if state.epoch_length is None else self.cursor.epoch_start + state.epoch_length
        return epoch_end, epoch_end if state.max_iters is None else min(epoch_end, state.max_iters)

    def _stop_iterating(self, epoch_end: int) -> None:
        """End the epoch, or the run where `max_iters` cuts the epoch short."""
        if self.cursor.done >= epoch_end:
            self.cursor.stage = EPOCH_COMPLETED
            return
        self._fire(Events.TERMINATE)
        self._complete()

    def _data_ended(self) -> None:
        """Let the data start again; or end the epoch, where its length is found or nothing more comes."""
        if self._feed.end():
            self.cursor.stage = GET_BATCH_COMPLETED
            self._fire(Events.DATALOADER_STOP_ITERATION)
        else:
            self.cursor.stage = EPOCH_COMPLETED

    # ------------------------------------------------------------------ stopping

    def _heed(self) -> bool:
        """Do what was asked for, in this order: new data, safe point, stops; return whether the run is left."""
        control, cursor = self.control, self.cursor
        control.signal = False
        holds_batch = self._holds_batch()
        if control.new_data and not holds_batch:
            control.new_data = False
            cursor.next_pass()
            self._feed.iterator = None
        if control.callbacks and not holds_batch and not control.is_held():
            control.reach_safe_point()
        if cursor.over:
            return True
        if control.terminate:
            self._terminate()
            return True
        if control.terminate_epoch:
            self._terminate_epoch()
        if control.interrupt:
            self._interrupt()
            return True
        # What still has to wait is looked at again after the next event.
        control.signal = control.signal or bool(control.callbacks) or control.new_data
        return False

    def _holds_batch(self) -> bool:
        """Tell whether a batch was fetched whose iteration is not done yet."""
        return self.cursor.stage_at(self.engine.state.iteration) in (ITERATION_STARTED, ITERATION_COMPLETED)

    def _terminate(self) -> None:
        self._fire_last(Events.TERMINATE)
        if not self.control.skip_completed:
            self._fire_timed(Events.COMPLETED, self._run_watch)
        self._last_safe_point()

    def _terminate_epoch(self) -> None:
        control, cursor = self.control, self.cursor
        control.terminate_epoch = False
        if cursor.stage is Events.EPOCH_STARTED:  # the epoch is over anyway
            return
        count = cursor.done - cursor.epoch_start
        cursor.stage = Events.EPOCH_STARTED if control.skip_epoch_completed else EPOCH_COMPLETED
        cursor.next_pass()
        self._feed.iterator = None
        self.engine.state.iteration = cursor.done
        self._registry.rewind()
        self._fire(Events.TERMINATE_SINGLE_EPOCH, count)
        control.terminate_epoch = False

    def _interrupt(self) -> None:
        self._write_stage()
        self._fire_last(Events.INTERRUPT)
        state = self.engine.state
        self._epoch_watch.pause()
        self._run_watch.pause()
        self.suspended = Suspended(
            self._feed.iterator, state.batch, self._holds_batch(), self._epoch_watch, self._run_watch
        )

    def _reenter(self) -> None:
        """Continue where an earlier run was left: open its data, take up its batch."""
        cursor, state, suspended = self.cursor, self.engine.state, self._continues
        if suspended is not None:
            self._epoch_watch.resume()
            self._run_watch.resume()
        if self.plan.resumed and self._feed.iterator is None:
            self._feed.iterator = self.engine.resume(state.dataloader, cursor.snapshot(cursor.done))
        if cursor.stage not in (ITERATION_STARTED, ITERATION_COMPLETED):
            return
        if suspended is not None and suspended.has_batch:
            state.batch = suspended.batch
        elif (batch := self._feed.fetch()) is END:
            self._data_ended()
            return
        else:
            state.batch = batch
        if cursor.stage is ITERATION_COMPLETED:
            state.iteration = cursor.done + 1

    def _write_stage(self) -> None:
        self.cursor.stage = self.cursor.stage_at(self.engine.state.iteration)

    # ------------------------------------------------------------------ firing

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

    def _last_safe_point(self) -> None:
        control = self.control
        if control.callbacks:
            was_exact, control.is_exact = control.is_exact, control.is_exact and not control.is_held()
            control.reach_safe_point()
            control.is_exact = was_exact

    def _fire_timed(self, event: Events, watch: Stopwatch, value: int = 0) -> None:
        """Fire an event whose handlers read the time up to it; afterwards it includes theirs."""
        times = self.engine.state.times
        times[event.name] = watch.seconds()
        self._fire(event, value=value)
        times[event.name] = watch.seconds()
