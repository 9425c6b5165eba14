"""How a run handles requests to stop, between two events; and what it does when something raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from camshaft.engine._emitter import Emitter
from camshaft.engine._events import Events
from camshaft.engine._fetcher import END, Fetcher
from camshaft.engine._last_run import Suspended
from camshaft.engine._position import Cursor
from camshaft.engine._requests import Requests
from camshaft.engine._stopwatch import Stopwatch

if TYPE_CHECKING:
    from camshaft.engine._engine import Engine


class GoingRun(Protocol):
    """What is looked at, and changed, in a run that heeds requests; `Run` says what each of these is."""

    engine: Engine[Any, Any]
    cursor: Cursor
    requests: Requests
    emitter: Emitter
    fetcher: Fetcher
    epoch_watch: Stopwatch
    run_watch: Stopwatch
    suspended: Suspended | None
    has_failed: bool

    def is_finished(self) -> bool:
        """Return whether the limits leave nothing but COMPLETED to do."""

    def complete(self, then: Cursor) -> None:
        """Fire COMPLETED, with which the run stands at `then`."""


def heed(run: GoingRun) -> bool:
    """Do what was asked for, or agreed on, in this order: moves, safe point, stops; return whether the run is left."""
    requests = run.requests
    requests.signal = False
    if requests.agreement is not None:
        requests.agreement.heed(requests)
    _move(run)
    if run.cursor.over:
        run.emitter.reach_last_safe_point()
    elif requests.callbacks and not _holds_batch(run) and not requests.is_held():
        requests.call_back()
        _move(run)
    if run.cursor.over:
        return True
    if requests.terminate is not None:
        terminate(run)
        return True
    if requests.interrupt:
        _interrupt(run)
        return True
    # What still has to wait is looked at again after the next event. Never set back here: another thread may set it.
    if requests.callbacks or requests.new_data is not None:
        requests.signal = True
    return False


def _move(run: GoingRun) -> None:
    """Move the cursor to the end of the epoch, or before other data, where that was asked for.

    This is done before a safe point, so that what is saved there goes on in the same way.
    """
    requests, state = run.requests, run.engine.state
    if (asked := requests.terminate_epoch) is not None:
        requests.terminate_epoch = None
    if asked is not None and not run.cursor.over and run.cursor.stage is not Events.EPOCH_STARTED:
        skips = asked.skip_epoch_completed
        run.cursor = run.cursor.at_early_epoch_end(state.iteration, skips_epoch_completed=skips)
        state.iteration = run.cursor.done
        run.fetcher.iterator = None
    if requests.new_data is not None and not _holds_batch(run):
        requests.new_data = None
        run.cursor = run.cursor.at_next_pass()
        run.fetcher.iterator = None


def _holds_batch(run: GoingRun) -> bool:
    return run.cursor.holds_batch(run.engine.state.iteration)


def terminate(run: GoingRun) -> None:
    """End the run: TERMINATE, and COMPLETED unless it was skipped or has been fired already."""
    was_over, asked = run.cursor.over, run.requests.terminate
    run.emitter.fire_last(Events.TERMINATE)
    _write_stage(run)
    run.cursor.over = was_over or run.is_finished()
    if run.requests.agreement is None:  # else what a handler of TERMINATE asks for is the wish of one process
        asked = run.requests.terminate
    if not was_over and not (asked is not None and asked.skip_completed):
        run.complete(run.cursor)
    run.emitter.reach_last_safe_point()


def _interrupt(run: GoingRun) -> None:
    _write_stage(run)
    run.emitter.fire_last(Events.INTERRUPT)
    run.epoch_watch.pause()
    run.run_watch.pause()
    # Interrupted at STARTED, a continued run has not taken up its batch yet.
    has_batch = run.fetcher.iterator is not None and run.cursor.stage in (
        Events.ITERATION_STARTED,
        Events.ITERATION_COMPLETED,
    )
    run.requests.terminate = None  # asked for by a handler of INTERRUPT, the last event
    batch = run.engine.state.batch if has_batch else END
    run.suspended = Suspended(run.fetcher, batch, run.epoch_watch, run.run_watch)


_NOT_ENDED = (
    "a handler of EXCEPTION_RAISED has called terminate(): several processes run together, so the exception is raised "
    "all the same; the others would wait for this one"
)


def fail(run: GoingRun, error: BaseException) -> bool:
    """Fire EXCEPTION_RAISED; return whether one of its handlers asked for a clean end instead."""
    requests = run.requests
    _write_stage(run)
    _move(run)  # an epoch that was asked to end before something raised ends all the same
    requests.terminate = None
    run.has_failed, run.emitter.is_exact = True, False  # what raised may be half done
    if requests.agreement is None:
        run.emitter.fire_last(Events.EXCEPTION_RAISED, error)
    else:  # the other processes do not come to a safe point here
        run.emitter.fire(Events.EXCEPTION_RAISED, error)
        requests.callbacks.clear()
        if requests.terminate is not None:
            requests.terminate = None
            error.add_note(_NOT_ENDED)
    _move(run)
    if requests.terminate is not None:
        terminate(run)
    return requests.terminate is not None


def _write_stage(run: GoingRun) -> None:
    run.cursor.stage = run.cursor.stage_at(run.engine.state.iteration)
