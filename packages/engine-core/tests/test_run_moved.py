"""Runs whose counters a user sets."""

from __future__ import annotations

from typing import Any

import pytest

from camshaft.engine import ArgumentError, Engine, Events
from camshaft.engine.testing import record_events


@pytest.mark.parametrize(("counter", "value"), [("epoch", 2), ("iteration", 6)])
@pytest.mark.parametrize("when", ["before", "at STARTED"])
def test_a_counter_that_is_set_moves_the_run_there_as_loading_it_would(counter: str, value: int, when: str) -> None:
    seen: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append((engine.state.iteration, batch)))
    log = record_events(engine)
    if when == "before":
        setattr(engine.state, counter, value)
    else:
        engine.add_event_handler(Events.STARTED, lambda: setattr(engine.state, counter, value))
    engine.run("abc", max_epochs=3)

    loaded: list[Any] = []
    other: Engine[Any, Any] = Engine(lambda engine, batch: loaded.append((engine.state.iteration, batch)))
    expected = record_events(other)
    other.load_state_dict({counter: value, "max_epochs": 3, "epoch_length": 3})
    other.run("abc")

    assert seen == loaded == [(7, "a"), (8, "b"), (9, "c")]
    assert log.names == expected.names
    assert engine.state.resumed


def test_counters_set_inside_an_epoch_open_the_data_there() -> None:
    seen: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))

    @engine.on(Events.STARTED)
    def move() -> None:
        engine.state.epoch, engine.state.iteration = 1, 4

    engine.run("abc", max_epochs=2)

    assert seen == ["b", "c"]


def test_counters_that_contradict_each_other_end_the_run_with_an_error() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)

    @engine.on(Events.STARTED)
    def move() -> None:
        engine.state.epoch, engine.state.iteration = 1, 2

    with pytest.raises(ArgumentError, match="`state.epoch` must fit to `state.iteration`"):
        engine.run("abc", max_epochs=1, epoch_length=1)


def test_a_run_that_is_moved_to_its_end_completes() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    log = record_events(engine)
    engine.add_event_handler(Events.STARTED, lambda: setattr(engine.state, "epoch", 2))
    engine.run("abc", max_epochs=2)

    assert log.names == ["STARTED", "COMPLETED"]


def test_an_evaluator_that_is_run_again_and_again_is_not_moved() -> None:
    evaluator: Engine[Any, Any] = Engine(lambda engine, batch: None)
    log = record_events(evaluator)
    for _ in range(3):
        evaluator.run("ab")

    assert log.names.count("ITERATION_COMPLETED") == 6
    assert not evaluator.state.resumed


@pytest.mark.parametrize("event", [Events.STARTED, Events.COMPLETED])
def test_the_start_and_the_end_of_a_run_count_epochs(event: Events) -> None:
    values: list[int] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.add_event_handler(
        event(event_filter=lambda engine, value: values.append(value) or True),  # type: ignore[func-returns-value]  # None
        lambda: values.append(engine.state.get_event_attrib_value(event)),
    )
    calls: list[int] = []
    engine.add_event_handler(event(every=2), lambda: calls.append(engine.state.epoch))
    engine.run("ab", max_epochs=2)
    engine.run(max_epochs=3)

    assert values == ([0, 0, 2, 2] if event is Events.STARTED else [2, 2, 3, 3])
    assert calls == ([0, 2] if event is Events.STARTED else [2])


def test_a_plain_dict_over_an_iterator_means_one_pass_that_goes_on() -> None:
    def endless() -> Any:
        place = 0
        while True:
            place += 1
            yield place

    seen: list[int] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))
    engine.load_state_dict({"epoch": 2, "max_epochs": 5, "epoch_length": 21})
    engine.run(endless())
    position = engine.position

    assert (position.data_pass, position.batch, position.iteration) == (0, 105, 105)
    assert "position" not in engine.state_dict()


def test_counters_set_after_an_interrupt_open_the_data_there_and_drop_what_was_suspended() -> None:
    seen: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    engine.run([1, 2, 3], max_epochs=3)
    engine.state.epoch = 2
    log = record_events(engine)
    engine.run([1, 2, 3])

    assert seen == [1, 2, 1, 2, 3]
    assert log.names[0] == "STARTED"


@pytest.mark.parametrize(
    ("counters", "text"),
    [
        ({"a": 5}, "names of attributes, got 5"),
        ({"a": "not a name"}, "names of attributes"),
        ({"a": "times"}, "own attribute 'times'"),
        ({"b": "counted"}, "known events, got 'b'"),
        ({Events.STARTED: "counted"}, "built-in events alone"),
    ],
    ids=["number", "no name", "own", "unknown", "built in"],
)
def test_a_counter_that_cannot_be_one_registers_nothing(counters: Any, text: str) -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: batch)

    with pytest.raises(ArgumentError, match=text):
        engine.register_events("a", event_to_attr=counters)
    assert not engine.has_registered_events("a")
    assert engine.run([1]).output == 1


@pytest.mark.parametrize("value", ["2", None, [1]], ids=str)
def test_a_counter_that_is_no_number_is_refused_and_put_back(value: Any) -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    handle = engine.add_event_handler(Events.STARTED, lambda: setattr(engine.state, "iteration", value))

    with pytest.raises(ArgumentError, match="`state.iteration` must be an integer"):
        engine.run([1, 2])
    handle.remove()
    assert engine.run([1, 2]).iteration == 2
