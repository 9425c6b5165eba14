"""The two hot functions: iterations from the fetch of a batch to the handlers of ITERATION_COMPLETED.

There are two because most iterations have no listener. `iterate` calls handlers at each of the four events of
an iteration; `iterate_quietly` does the same for a stretch of iterations in which nobody listens to anything but,
now and then, to the end of one: it leaves out every check that only a handler could make necessary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from camshaft.engine._dispatch import NO_HANDLERS, DispatchTable
from camshaft.engine._events import Events
from camshaft.engine._fetcher import END
from camshaft.engine._position import Cursor
from camshaft.engine._registry import Registry
from camshaft.engine._requests import Requests
from camshaft.engine._signature import Call
from camshaft.engine._state import State

if TYPE_CHECKING:
    from camshaft.engine._engine import Engine

# Read as globals in the loop: an attribute of an enum is a slow thing to look up.
GET_BATCH_STARTED = Events.GET_BATCH_STARTED
GET_BATCH_COMPLETED = Events.GET_BATCH_COMPLETED
ITERATION_STARTED = Events.ITERATION_STARTED
ITERATION_COMPLETED = Events.ITERATION_COMPLETED
EPOCH_COMPLETED = Events.EPOCH_COMPLETED
ITERATION_EVENTS = (GET_BATCH_STARTED, GET_BATCH_COMPLETED, ITERATION_STARTED, ITERATION_COMPLETED)
PLACES = {event: place for place, event in enumerate(ITERATION_EVENTS)}
Calls = tuple[Call | None, Call | None, Call | None, Call | None]


class Tables:
    """The dispatch tables of the four events of an iteration, as the handlers are now.

    Attributes:
        always: what is called where nothing scheduled is due.
        is_quiet: whether that is nothing at all.
        on_end: the table of ITERATION_COMPLETED.
    """

    __slots__ = ("_tables", "always", "is_quiet", "on_end")

    def __init__(self, registry: Registry, *, has_data: bool) -> None:
        tables = [registry.table(event) for event in ITERATION_EVENTS]
        if not has_data:  # batches that are None are not fetched, so nothing is fired about it
            tables[:2] = NO_HANDLERS, NO_HANDLERS
        self._tables = tables
        self.on_end = tables[3]
        self.always: Calls = (tables[0].always, tables[1].always, tables[2].always, tables[3].always)
        self.is_quiet = all(call is None for call in self.always)

    def due_after(self, stop: int) -> int:
        """Return the last iteration before one in which something scheduled is due, at whose end it may be.

        Args:
            stop: the last iteration that there may be.
        """
        on_fetch, on_fetched, on_start, _ = self._tables
        # GET_BATCH_* are fired while the iteration before is counted.
        return min(on_fetch.next_due, on_fetched.next_due, on_start.next_due - 1, stop)

    def at(self, number: int, fired: int) -> Calls:
        """Return what iteration `number` calls at its four events; None at the first `fired`, which were fired."""
        on_fetch, on_fetched, on_start, on_end = self._tables
        before = number - 1
        if fired:  # the rest of an iteration that was asked about before
            for table in self._tables:
                table.rewind()
        calls = (
            on_fetch.always if before < on_fetch.next_due else on_fetch.at(before),
            on_fetched.always if before < on_fetched.next_due else on_fetched.at(before),
            on_start.always if number < on_start.next_due else on_start.at(number),
            on_end.always if number < on_end.next_due else on_end.at(number),
        )
        return (None,) * fired + calls[fired:] if fired else calls  # type: ignore[return-value]  # four all the same

    def again(self, event: Events, number: int) -> Call | None:
        """Return what an event calls whose handlers have changed since the iteration began."""
        table = self._tables[PLACES[event]]
        table.rewind()
        return table.at(number)


def iterate_stretch(
    engine: Engine[Any, Any],
    cursor: Cursor,
    requests: Requests,
    iterator: Iterator[Any],
    tables: Tables,
    epoch_end: int,
    stop: int,
) -> Any:
    """Do iterations from wherever the cursor stands: as many as make the same calls.

    A stretch ends before an iteration with a scheduled handler, and before the epoch's last one: these are done
    by themselves, and so is one that is entered in its middle.

    Args:
        engine, cursor, requests: the run's.
        iterator: gives the batches.
        tables: the handlers.
        epoch_end: the number of the epoch's last iteration.
        stop: the number of the last iteration to be done at all.

    Returns:
        As `iterate` does.
    """
    number, state, on_end = cursor.done + 1, engine.state, tables.on_end
    last = tables.due_after(stop)
    alike = min(last, on_end.next_due - 1, stop - 1)
    if cursor.stage is GET_BATCH_STARTED and number <= last and number <= on_end.next_due:
        if tables.is_quiet:
            then = GET_BATCH_STARTED if last < epoch_end else EPOCH_COMPLETED
            return iterate_quietly(engine, state, cursor, requests, iterator, last, on_end, then)
        if number <= alike:
            return iterate(engine, state, cursor, requests, iterator, alike, tables.always, GET_BATCH_STARTED)
    calls = tables.at(number, PLACES[cursor.stage])
    then = GET_BATCH_STARTED if number < epoch_end else EPOCH_COMPLETED
    return iterate(engine, state, cursor, requests, iterator, number, calls, then)


def iterate(
    engine: Engine[Any, Any],
    state: State[Any, Any],
    cursor: Cursor,
    requests: Requests,
    iterator: Iterator[Any],
    last: int,
    calls: Calls,
    then: Events,
) -> Any:
    """Do the iterations up to number `last`, each with the same calls, or up to a signal or the end of the data.

    Args:
        engine, state, cursor, requests: the run's.
        iterator: gives the batches.
        last: number of the last iteration.
        calls: what to call at each of the four events; None where nobody listens, or the event was fired before.
        then: the stage after each of the iterations.

    Returns:
        The event to be fired next if a fetch or a step has changed something, END if the data has ended, else None.
    """
    step = engine.process_function
    on_fetch, on_fetched, on_start, on_end = calls
    has_batch = cursor.stage is ITERATION_STARTED or cursor.stage is ITERATION_COMPLETED
    for number in range(cursor.done + 1, last + 1):
        if not has_batch:
            cursor.stage = GET_BATCH_COMPLETED
            if on_fetch is not None:
                engine.last_event_name = GET_BATCH_STARTED
                on_fetch(engine)
                if requests.signal:
                    return None
            state.batch = None  # released before the next one is fetched: two never lie in memory together
            state.batch = next(iterator, END)
            if state.batch is END:
                return END
            if requests.signal:
                return GET_BATCH_COMPLETED
            cursor.stage = ITERATION_STARTED
            if on_fetched is not None:
                engine.last_event_name = GET_BATCH_COMPLETED
                on_fetched(engine)
                if requests.signal:
                    return None
        has_batch = False
        state.iteration, cursor.stage = number, ITERATION_COMPLETED
        if on_start is not None:
            engine.last_event_name = ITERATION_STARTED
            on_start(engine)
            if requests.signal:
                return None
        state.output = step(engine, state.batch)
        cursor.stage, cursor.done = then, number
        if requests.signal:
            return ITERATION_COMPLETED
        if on_end is not None:
            engine.last_event_name = ITERATION_COMPLETED
            on_end(engine)
            if requests.signal:
                return None
    return None


def iterate_quietly(
    engine: Engine[Any, Any],
    state: State[Any, Any],
    cursor: Cursor,
    requests: Requests,
    iterator: Iterator[Any],
    last: int,
    on_end: DispatchTable,
    then: Events,
) -> Any:
    """Do the same where nobody listens, but perhaps to the end of an iteration, when it is due.

    Args:
        engine, state, cursor, requests, iterator, last: as for `iterate`.
        on_end: the table of ITERATION_COMPLETED; no handler in it runs at every value.
        then: the stage after the last iteration.

    Returns:
        As `iterate` does.
    """
    step, number = engine.process_function, cursor.done
    pause = min(last, on_end.next_due)
    state.batch = None
    cursor.stage = GET_BATCH_COMPLETED  # until somebody is called who could look at it: see `Cursor.stage_at`
    for state.batch in iterator:
        if requests.signal:
            return GET_BATCH_COMPLETED
        number += 1
        state.iteration = number
        state.output = step(engine, state.batch)
        cursor.done = number
        if requests.signal:
            cursor.stage = then if number == last else GET_BATCH_STARTED
            return ITERATION_COMPLETED
        if number == pause:
            cursor.stage = then if number == last else GET_BATCH_STARTED
            if number == on_end.next_due and (call := on_end.at(number)) is not None:
                engine.last_event_name = ITERATION_COMPLETED
                call(engine)
            if number == last or requests.signal:
                return None
            pause = min(last, on_end.next_due)
            cursor.stage = GET_BATCH_COMPLETED
        state.batch = None  # released before the next one is fetched: two never lie in memory together
    return END
