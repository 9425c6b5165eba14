"""The order of events, and the limits of a run."""

from __future__ import annotations

from typing import Any

import pytest
from run_parts import ITERATION, make

from camshaft.engine import ArgumentError, Engine, Events
from camshaft.engine.testing import record_events


def test_two_epochs_fire_the_events_in_the_order_of_the_contract() -> None:
    engine = make()
    log = record_events(engine)
    engine.run([1, 2], max_epochs=2)

    assert log.names == [
        "STARTED",
        "EPOCH_STARTED", *ITERATION, *ITERATION, "EPOCH_COMPLETED",
        "EPOCH_STARTED", "GET_BATCH_STARTED", "DATALOADER_STOP_ITERATION", *ITERATION[1:], *ITERATION,
        "EPOCH_COMPLETED",
        "COMPLETED",
    ]  # fmt: skip


def test_get_batch_events_see_the_count_before_and_iteration_events_after() -> None:
    engine = make()
    log = record_events(engine)
    engine.run([7, 8])

    counts = [(entry.event, entry.iteration) for entry in log if entry.event in ITERATION]
    assert counts == [
        ("GET_BATCH_STARTED", 0), ("GET_BATCH_COMPLETED", 0), ("ITERATION_STARTED", 1), ("ITERATION_COMPLETED", 1),
        ("GET_BATCH_STARTED", 1), ("GET_BATCH_COMPLETED", 1), ("ITERATION_STARTED", 2), ("ITERATION_COMPLETED", 2),
    ]  # fmt: skip


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_with_epochs_as_long_as_the_data_it_is_started_again_once_less_than_there_are_epochs(epochs: int) -> None:
    engine = make()
    log = record_events(engine)
    engine.run([1, 2, 3], max_epochs=epochs)

    assert log.names.count("DATALOADER_STOP_ITERATION") == epochs - 1


def test_without_data_the_batch_is_none_and_nothing_is_fetched() -> None:
    seen = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))
    log = record_events(engine)
    engine.run(None, max_epochs=2, epoch_length=2)

    assert seen == [None] * 4
    assert not {"GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "DATALOADER_STOP_ITERATION"} & set(log.names)


def test_data_given_to_a_run_without_data_is_fetched_from_then_on() -> None:
    seen: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))
    log = record_events(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: engine.set_data("ab"))
    engine.run(None, epoch_length=4)

    assert seen == [None, None, "a", "b"]
    assert log.names.count("GET_BATCH_COMPLETED") == 2


def test_batches_that_are_none_are_batches() -> None:
    engine = make()
    log = record_events(engine)
    state = engine.run([None, None, 3, None])

    assert state.iteration == 4
    assert log.names.count("GET_BATCH_COMPLETED") == 4


def test_the_name_of_the_last_event_is_there_for_handlers() -> None:
    engine = make()
    names: list[Any] = []
    for event in Events:
        engine.add_event_handler(event, lambda engine, *args: names.append(engine.last_event_name))
    assert engine.last_event_name is None
    log = record_events(engine)
    engine.run([1, 2], max_epochs=2)

    assert [name.name for name in names] == log.names
    assert engine.last_event_name is Events.COMPLETED


@pytest.mark.parametrize(
    ("max_iters", "tail"),
    [(2, ["ITERATION_COMPLETED", "TERMINATE", "COMPLETED"]), (3, ["EPOCH_COMPLETED", "COMPLETED"]),
     (4, ["ITERATION_COMPLETED", "TERMINATE", "COMPLETED"]), (6, ["EPOCH_COMPLETED", "COMPLETED"])],
)  # fmt: skip
def test_max_iters_stops_at_exactly_that_iteration(max_iters: int, tail: list[str]) -> None:
    engine = make()
    log = record_events(engine)
    state = engine.run([1, 2, 3], max_iters=max_iters)

    assert state.iteration == max_iters
    assert log.names[-len(tail) :] == tail
    assert log.names.count("EPOCH_COMPLETED") == max_iters // 3


def test_max_iters_can_be_continued_with_a_larger_one() -> None:
    seen: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))
    engine.run("abc", max_iters=2)
    log = record_events(engine)
    engine.run(max_iters=4)

    assert "".join(seen) == "abca"
    assert log.names[:2] == ["STARTED", "GET_BATCH_STARTED"]
    assert log.names.count("EPOCH_COMPLETED") == 1


def test_a_limit_changed_by_a_handler_counts_from_the_next_epoch_on() -> None:
    engine = make()
    engine.add_event_handler(Events.EPOCH_COMPLETED(once=2), lambda: setattr(engine.state, "max_epochs", 3))

    assert engine.run([1], max_epochs=10).epoch == 3


def test_a_limit_lowered_below_what_is_done_can_be_saved_and_loaded() -> None:
    engine = make()
    engine.add_event_handler(Events.EPOCH_STARTED(once=3), lambda: setattr(engine.state, "max_epochs", 1))
    state = engine.run([1, 2], max_epochs=5)
    saved = engine.state_dict()
    make().load_state_dict(saved)

    assert state.epoch == 3
    assert saved["max_epochs"] == 3


def test_limits_taken_away_by_a_handler_are_meant_for_the_next_run() -> None:
    engine = make()
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda: setattr(engine.state, "max_epochs", None))

    assert engine.run([1, 2], max_epochs=2).iteration == 4


@pytest.mark.parametrize("value", ["three", 2.5, [3], True, -1])
@pytest.mark.parametrize("limit", ["max_epochs", "epoch_length"])
def test_a_limit_that_a_handler_makes_nonsense_of_is_named(limit: str, value: Any) -> None:
    engine = make()
    engine.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda: setattr(engine.state, limit, value))
    with pytest.raises(ArgumentError, match=rf"`state\.{limit}` must be an integer of at least \d, got "):
        engine.run([1, 2, 3], max_epochs=3)

    setattr(engine.state, limit, 3)
    assert engine.run().iteration == 9


def test_a_limit_that_is_nonsense_between_two_runs_is_named() -> None:
    engine = make()
    engine.run([1, 2, 3])
    engine.state.max_epochs = "three"  # type: ignore[assignment]  # as in a script without types
    for call in (engine.run, engine.state_dict):
        with pytest.raises(ArgumentError, match=r"`state\.max_epochs` must be an integer of at least 0, got 'three'"):
            call()
