"""Handlers that are attached and removed while a run goes on."""

from __future__ import annotations

from typing import Any

import pytest
from run_parts import PER_ITERATION, make

from camshaft.engine import Engine, EngineWarning, Events
from camshaft.engine.testing import record_events


@pytest.mark.parametrize("event", [*PER_ITERATION, Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, Events.STARTED])
def test_a_handler_added_during_a_firing_runs_from_the_next_one_on(event: Events) -> None:
    engine = make()
    calls: list[tuple[str, int]] = []

    def late() -> None:
        calls.append(("late", engine.state.iteration))

    def first() -> None:
        calls.append(("first", engine.state.iteration))
        if len(calls) == 1:
            engine.add_event_handler(event, late)

    engine.add_event_handler(event, first)
    log = record_events(engine)
    engine.run([1, 2, 3], max_epochs=2)

    fired = log.names.count(event.name)
    assert [name for name, _ in calls] == ["first", *["first", "late"] * (fired - 1)]


@pytest.mark.parametrize("event", [*PER_ITERATION, Events.EPOCH_STARTED, Events.COMPLETED])
def test_a_handler_removed_by_an_earlier_one_of_the_same_firing_does_not_run(event: Events) -> None:
    engine = make()
    calls: list[str] = []
    engine.add_event_handler(event, lambda: handle.remove())
    handle = engine.add_event_handler(event, lambda: calls.append("removed"))
    engine.add_event_handler(event, lambda: calls.append("last"))
    engine.run([1])

    assert calls == ["last"]


def test_a_handler_that_removes_itself_has_run_once() -> None:
    engine = make()
    calls: list[int] = []

    def once() -> None:
        calls.append(engine.state.iteration)
        handle.remove()

    handle = engine.add_event_handler(Events.ITERATION_STARTED, once)
    engine.run([1, 2, 3])

    assert calls == [1]


@pytest.mark.parametrize("event", PER_ITERATION)
def test_handlers_added_in_the_step_listen_to_the_rest_of_the_iteration(event: Events) -> None:
    calls: list[int] = []

    def step(engine: Engine[Any, Any], batch: Any) -> None:
        if batch == 2:
            engine.add_event_handler(event, lambda: calls.append(engine.state.iteration))

    Engine(step).run([1, 2, 3])

    assert calls == {"GET_BATCH_STARTED": [2], "GET_BATCH_COMPLETED": [2], "ITERATION_STARTED": [3]}.get(
        event.name, [2, 3]
    )


def test_the_same_filter_value_that_comes_twice_is_due_twice() -> None:
    engine = make()
    calls: list[int] = []
    engine.add_event_handler(Events.GET_BATCH_STARTED(once=2), lambda: calls.append(engine.state.iteration))
    with pytest.warns(EngineWarning):
        engine.run(iter([1, 2]), max_epochs=2)  # the end of the data is found at count 2, in both epochs

    assert calls == [2, 2]
