from __future__ import annotations

from typing import Any

import pytest

from camshaft.engine import Engine, Events
from camshaft.engine.testing import record_events


def test_handlers_of_terminate_may_still_skip_completed() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: engine.terminate())
    engine.add_event_handler(Events.TERMINATE, engine.terminate, skip_completed=True)
    log = record_events(engine)
    engine.run([1, 2])

    assert log.names[-1] == "TERMINATE"


def test_max_iters_that_cut_an_epoch_can_skip_completed_too() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.TERMINATE, engine.terminate, skip_completed=True)
    log = record_events(engine)
    engine.run([1, 2], max_iters=1)

    assert log.names[-2:] == ["ITERATION_COMPLETED", "TERMINATE"]


def test_a_clean_end_of_a_failed_completed_fires_it_only_once() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    log = record_events(engine)

    @engine.on(Events.COMPLETED)
    def fail() -> None:
        raise OSError

    engine.add_event_handler(Events.EXCEPTION_RAISED, engine.terminate)
    engine.run([1])

    assert log.names[-3:] == ["COMPLETED", "EXCEPTION_RAISED", "TERMINATE"]


def test_what_waits_for_a_safe_point_is_called_before_and_behind_the_last_event() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    log = record_events(engine)
    saved: list[str] = []
    for event in (Events.ITERATION_STARTED, Events.TERMINATE, Events.COMPLETED):
        engine.add_event_handler(event, lambda: engine.at_safe_point(lambda: saved.append(log.names[-1])))
    engine.add_event_handler(Events.ITERATION_STARTED, engine.terminate)
    engine.run([1])

    assert saved == ["TERMINATE", "TERMINATE", "COMPLETED"]


def test_the_time_of_a_suspended_run_goes_on_where_it_stopped() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.interrupt)
    seen: list[float] = []
    engine.run([1, 2])
    assert engine.state.times["COMPLETED"] is None
    suspended = engine._status.last().suspended
    assert suspended is not None
    watch = suspended.run_watch
    before = watch._elapsed
    engine.add_event_handler(Events.COMPLETED, lambda: seen.append(engine.state.times["COMPLETED"]))
    engine.run()

    assert 0 < before < seen[0]


@pytest.mark.parametrize("event", [Events.EPOCH_COMPLETED, Events.COMPLETED])
def test_a_state_replaced_in_a_timed_event_gets_its_time(event: Events) -> None:
    from camshaft.engine import State

    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)

    @engine.on(event)
    def change() -> None:
        engine.state = State()

    engine.run([1])

    assert engine.state.times[event.name] is not None
