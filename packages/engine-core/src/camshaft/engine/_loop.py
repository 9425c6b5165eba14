"""The only loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from camshaft.engine._calling import Call
from camshaft.engine._events import Events
from camshaft.engine._feed import END
from camshaft.engine._firing import Firing, Suspended
from camshaft.engine._registry import NEVER, Agenda

if TYPE_CHECKING:
    from camshaft.engine._state import State

# Read as globals in the loop: an attribute of an enum is a slow thing to look up.
GET_BATCH_STARTED = Events.GET_BATCH_STARTED
GET_BATCH_COMPLETED = Events.GET_BATCH_COMPLETED
ITERATION_STARTED = Events.ITERATION_STARTED
ITERATION_COMPLETED = Events.ITERATION_COMPLETED
EPOCH_STARTED = Events.EPOCH_STARTED
EPOCH_COMPLETED = Events.EPOCH_COMPLETED
ITERATION_ORDER = (GET_BATCH_STARTED, GET_BATCH_COMPLETED, ITERATION_STARTED, ITERATION_COMPLETED)
Calls = tuple[Call | None, ...]
PLACES = {event: place for place, event in enumerate(ITERATION_ORDER)}
NOTHING = Agenda()


class Loop(Firing):
    """One call of `run`: moves the cursor from event to event.

    The cursor is the program counter: `stage` is the next event to fire, and each method below
    does the work in front of an event, moves the cursor on and fires it. So a run can be entered
    and left at any event, and there is one place, `_heed`, where a stop takes effect.
    """

    # ------------------------------------------------------------------ the way of a run

    def run(self) -> None:
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
        if self._continues is None:
            self._fire(Events.STARTED)
            if self._is_left():
                return
        self._reenter()
        while not self._is_left():
            stages[self.cursor.stage]()

    def leave(self) -> None:
        """Let go of iterator and batch, and leave the counters at what was completed."""
        control, cursor, state = self.control, self.cursor, self.engine.state
        self._write_stage()
        control.interrupt = self.suspended is not None
        control.is_exact = True
        control.firing = None
        control.callbacks.clear()  # empty unless one of them raised
        state.iteration = cursor.done
        state.batch = None
        try:
            if self.suspended is None:
                if control.new_data:
                    cursor.next_pass()
                if cursor.pass_open and cursor.data_state is None:  # else it was not opened
                    cursor.data_state = self.engine.data_state(state.dataloader)
        finally:
            self._feed.iterator = None

    # ------------------------------------------------------------------ epochs

    def _start_epoch(self) -> None:
        cursor, state = self.cursor, self.engine.state
        max_epochs, max_iters = self._limits()
        # Where iterations are counted and no more can come, no number of epochs would end the run.
        if cursor.is_finished(max_epochs, max_iters) or (max_iters is not None and cursor.is_dry()):
            self._complete()
            return
        cursor.next_epoch()
        state.epoch = cursor.epoch
        self._epoch_watch.restart()
        self._registry.rewind()  # an iteration whose epoch ended before its step is counted again
        self._fire(EPOCH_STARTED, value=cursor.epoch)

    def _end_epoch_early(self) -> None:
        cursor = self.cursor
        cursor.stage = EPOCH_STARTED if cursor.skips_epoch_completed else EPOCH_COMPLETED
        cursor.skips_epoch_completed = False
        self._fire(Events.TERMINATE_SINGLE_EPOCH, cursor.done - cursor.epoch_start)
        self.control.terminate_epoch = False  # it is ending already

    def _complete_epoch(self) -> None:
        self.cursor.stage = EPOCH_STARTED
        self._fire_timed(EPOCH_COMPLETED, self._epoch_watch, value=self.cursor.epoch)
        self.engine.logger.info("epoch %d completed: %d iterations in all", self.cursor.epoch, self.cursor.done)

    def _complete(self) -> None:
        self.cursor.over = True
        self._fire_timed(Events.COMPLETED, self._run_watch)

    # ------------------------------------------------------------------ iterations

    def _iterate(self) -> None:
        """Do iterations from wherever the cursor stands: a span at a time, each with the same calls.

        A span ends before an iteration with a scheduled handler, and before the epoch's last one: these
        are done by themselves, and so is one that is entered in its middle. Where nobody listens, a
        span may end with such an iteration.
        """
        cursor, control = self.cursor, self.control
        epoch_end, stop = self._ends()
        if cursor.done >= epoch_end:
            cursor.stage = EPOCH_COMPLETED
        elif cursor.done >= stop:  # `max_iters` cuts the epoch short
            cursor.stage = Events.COMPLETED
            self._terminate()
        agendas, ready, is_quiet = self._look_at_handlers()
        while True:  # not `while <condition>`: Python 3.11 compiles such a loop into slower code
            number = cursor.done + 1
            if number > stop or cursor.stage not in PLACES:
                return
            if self._feed.iterator is None:
                self._feed.open()
                agendas, ready, is_quiet = self._look_at_handlers()
            on_fetch, on_fetched, on_start, on_end = agendas
            # The last iteration before one at whose events, but for its end, something scheduled is due.
            last = min(on_fetch.next_due, on_fetched.next_due, on_start.next_due - 1, on_end.next_due, stop)
            alike = min(last, on_end.next_due - 1, stop - 1)
            if cursor.stage is not GET_BATCH_STARTED or last < number or (alike < number and not is_quiet):
                then = GET_BATCH_STARTED if number < epoch_end else EPOCH_COMPLETED
                self._iterate_span(number, self._calls_at(number, agendas), then)
            elif is_quiet:
                self._iterate_quietly(last, on_end, GET_BATCH_STARTED if last < epoch_end else EPOCH_COMPLETED)
            else:
                self._iterate_span(alike, ready, GET_BATCH_STARTED)
            if control.signal:
                return

    def _agendas(self) -> tuple[Agenda, ...]:
        """Return the agendas of an iteration; batches that are None are not fetched, so nothing is fired about it."""
        agendas = tuple(self._registry.agenda(event) for event in ITERATION_ORDER)
        return (NOTHING, NOTHING, *agendas[2:]) if self.engine.state.dataloader is None else agendas

    def _look_at_handlers(self) -> tuple[tuple[Agenda, ...], Calls, bool]:
        """Return the agendas of an iteration, what they call when nothing is scheduled, and whether that is nothing."""
        agendas = self._agendas()
        ready = tuple(agenda.ready for agenda in agendas)
        return agendas, ready, all(call is None for call in ready)

    def _calls_at(self, number: int, agendas: tuple[Agenda, ...]) -> Calls:
        """Return what iteration `number` calls at its four events; None where one was fired already."""
        on_fetch, on_fetched, on_start, on_end = agendas
        fired, before = PLACES[self.cursor.stage], number - 1
        if fired:  # the rest of an iteration that was asked about before
            self._registry.rewind()
        calls = (
            on_fetch.ready if before < on_fetch.next_due else on_fetch.at(before),
            on_fetched.ready if before < on_fetched.next_due else on_fetched.at(before),
            on_start.ready if number < on_start.next_due else on_start.at(number),
            on_end.ready if number < on_end.next_due else on_end.at(number),
        )
        return (None,) * fired + calls[fired:] if fired else calls

    def _iterate_span(self, last: int, calls: Calls, then: Events) -> None:
        """Do the iterations up to `last`, or to a signal, or to the end of the data.

        Args:
            last: number of the last iteration.
            calls: what to call at each of the four events.
            then: the stage behind each of the iterations.
        """
        engine, cursor, control, iterator = self.engine, self.cursor, self.control, self._feed.iterator
        state, step = engine.state, engine.process_function
        on_fetch, on_fetched, on_start, on_end = calls
        has_batch = cursor.stage is ITERATION_STARTED or cursor.stage is ITERATION_COMPLETED
        for number in range(cursor.done + 1, last + 1):
            if not has_batch:
                cursor.stage = GET_BATCH_COMPLETED
                if on_fetch is not None:
                    engine.last_event_name = GET_BATCH_STARTED
                    on_fetch(engine)
                    if control.signal:
                        return
                state.batch = None  # released before the next one is fetched: two never lie in memory together
                state.batch = next(iterator, END)  # type: ignore[arg-type]  # opened by the caller
                if state.batch is END or control.signal:
                    self._follow(GET_BATCH_COMPLETED, state)
                    return
                cursor.stage = ITERATION_STARTED
                if on_fetched is not None:
                    engine.last_event_name = GET_BATCH_COMPLETED
                    on_fetched(engine)
                    if control.signal:
                        return
            has_batch = False
            state.iteration, cursor.stage = number, ITERATION_COMPLETED
            if on_start is not None:
                engine.last_event_name = ITERATION_STARTED
                on_start(engine)
                if control.signal:
                    return
            state.output = step(engine, state.batch)
            cursor.done, cursor.stage = number, then
            if control.signal:
                self._follow(ITERATION_COMPLETED, state)
                return
            if on_end is not None:
                engine.last_event_name = ITERATION_COMPLETED
                on_end(engine)
                if control.signal:
                    return

    def _iterate_quietly(self, last: int, on_end: Agenda, then: Events) -> None:
        """The same for iterations that nobody listens to, but perhaps to the end of the last one."""
        engine, cursor, control = self.engine, self.cursor, self.control
        state, step, number = engine.state, engine.process_function, cursor.done
        state.batch = None
        cursor.stage = GET_BATCH_COMPLETED  # until the last one is done: see `Cursor.stage_at`
        for state.batch in self._feed.iterator:  # type: ignore[union-attr]  # opened by the caller
            if control.signal:
                self._follow(GET_BATCH_COMPLETED, state)
                return
            state.iteration = number = number + 1
            state.output = step(engine, state.batch)
            cursor.done = number
            if control.signal:
                cursor.stage = then if number == last else GET_BATCH_STARTED
                self._follow(ITERATION_COMPLETED, state)
                return
            if number == last:
                cursor.stage = then
                if number >= on_end.next_due and (call := on_end.at(number)) is not None:
                    engine.last_event_name = ITERATION_COMPLETED
                    call(engine)
                return
            state.batch = None  # released before the next one is fetched: two never lie in memory together
        self._data_ended(state)

    def _follow(self, event: Events, state: State[Any, Any]) -> None:
        """Follow a fetch or a step that has changed something: the end of the data, handlers, the state, a stop."""
        cursor, engine = self.cursor, self.engine
        if state.batch is END:
            self._data_ended(state)
            return
        if engine.state is not state:
            engine.state.batch, engine.state.output = state.batch, state.output
        if event is GET_BATCH_COMPLETED:
            cursor.stage = ITERATION_STARTED
        agenda = self._agendas()[PLACES[event]]
        agenda.rewind()
        if (call := agenda.at(cursor.done)) is not None:
            engine.last_event_name = event
            call(engine)

    def _ends(self) -> tuple[int, int]:
        """Return the iteration counts at which the epoch ends, and at which iterating stops."""
        length, max_iters = self.engine.state.epoch_length, self._limits()[1]
        epoch_end = NEVER if length is None else self.cursor.epoch_start + length
        return epoch_end, epoch_end if max_iters is None else min(epoch_end, max_iters)

    def _data_ended(self, state: State[Any, Any]) -> None:
        """Let the data start again; or end the epoch, where its length is found or nothing more comes."""
        state.batch = None
        if self._feed.end():
            self.cursor.stage = GET_BATCH_COMPLETED
            self._fire(Events.DATALOADER_STOP_ITERATION)
        else:
            self.cursor.stage = EPOCH_COMPLETED

    # ------------------------------------------------------------------ stopping

    def _is_left(self) -> bool:
        return self._heed() if self.control.signal else self.cursor.over

    def _heed(self) -> bool:
        """Do what was asked for, in this order: moves, safe point, stops; return whether the run is left."""
        control, cursor = self.control, self.cursor
        control.signal = False
        self._move()
        if control.callbacks and cursor.over:
            self._last_safe_point()
        elif control.callbacks and not cursor.holds_batch(self.engine.state.iteration) and not control.is_held():
            control.reach_safe_point()
            self._move()
        if cursor.over:
            return True
        if control.terminate:
            self._terminate()
            return True
        if control.interrupt:
            self._interrupt()
            return True
        # What still has to wait is looked at again after the next event.
        control.signal = control.signal or bool(control.callbacks) or control.new_data
        return False

    def _move(self) -> None:
        """Turn the cursor to the end of the epoch, or to other data, where that was asked for.

        This is done before a safe point, so that what is saved there goes on in the same way.
        """
        control, cursor, state = self.control, self.cursor, self.engine.state
        is_over = cursor.over or cursor.stage is EPOCH_STARTED  # the epoch, if not the run
        if control.terminate_epoch and not is_over:
            cursor.end_epoch(control.skip_epoch_completed)
            state.iteration = cursor.done
            self._feed.iterator = None
        control.terminate_epoch = False
        if control.new_data and not cursor.holds_batch(state.iteration):
            control.new_data = False
            cursor.next_pass()
            self._feed.iterator = None

    def _interrupt(self) -> None:
        self._write_stage()
        self._fire_last(Events.INTERRUPT)
        self._epoch_watch.pause()
        self._run_watch.pause()
        # Interrupted at STARTED, a continued run has not taken up its batch yet.
        has_batch = self._feed.iterator is not None and self.cursor.stage in (ITERATION_STARTED, ITERATION_COMPLETED)
        batch = self.engine.state.batch if has_batch else None
        self.control.terminate = False  # asked for by a handler of INTERRUPT, the last event
        self.suspended = Suspended(
            self._feed.iterator, batch, has_batch, self.control.new_data, self._epoch_watch, self._run_watch
        )

    def _reenter(self) -> None:
        """Continue where an earlier run was left: open its data, take up its batch."""
        cursor, state, suspended = self.cursor, self.engine.state, self._continues
        if suspended is not None:
            self._epoch_watch.resume()
            self._run_watch.resume()
            if suspended.new_data:
                self.control.new_data = self.control.signal = True
        if self.plan.resumed and self._feed.iterator is None:
            self._feed.resume()
        if cursor.stage not in (ITERATION_STARTED, ITERATION_COMPLETED):
            return
        if suspended is not None and suspended.has_batch:
            state.batch = suspended.batch
        elif (batch := self._feed.fetch()) is END:
            self._data_ended(state)
            return
        else:
            state.batch = batch
        if cursor.stage is ITERATION_COMPLETED:
            state.iteration = cursor.done + 1
