from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camshaft.engine import Engine, Events, Position
from camshaft.engine._position import Cursor, implied_position


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4))
def test_what_counters_imply_is_where_a_real_run_stands(length: int, epoch_length: int, epochs: int) -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    positions: dict[int, Position] = {}

    def note() -> None:
        engine.at_safe_point(lambda: positions.__setitem__(engine.state.iteration, engine.position))

    engine.add_event_handler(Events.ITERATION_COMPLETED, note)
    engine.add_event_handler(Events.EPOCH_COMPLETED, note)
    engine.run(range(length), max_epochs=epochs, epoch_length=epoch_length)

    assert list(positions) == list(range(1, epochs * epoch_length + 1))
    for iteration, position in positions.items():
        assert implied_position(iteration, epoch_length, length, over=False) == position


def test_before_the_first_run_a_position_is_empty() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)

    assert engine.position == Position()
    assert engine.position.next_event == "EPOCH_STARTED"


def test_a_finished_run_has_no_next_event() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.run([1, 2], max_epochs=2)

    assert engine.position == Position(
        epoch=2, epoch_iteration=2, iteration=4, data_pass=1, batch=2, pass_open=True, over=True
    )
    assert engine.position.next_event is None


@pytest.mark.parametrize("others", [False, True])
def test_the_next_event_is_told_at_every_moment(others: bool) -> None:
    seen: list[Any] = []

    def look(place: str) -> None:
        seen.append((place, engine.position.next_event, engine.position.iteration, engine.position.batch))

    class Data:
        def __iter__(self) -> Any:
            for batch in (1, 2):
                look("fetch")
                yield batch

    engine: Engine[Any, Any] = Engine(lambda engine, batch: look("step"))
    if others:
        for event in Events:
            engine.add_event_handler(event, lambda: None)
    engine.run(Data(), epoch_length=2)

    assert seen == [
        ("fetch", "GET_BATCH_COMPLETED", 0, 0), ("step", "ITERATION_COMPLETED", 0, 0),
        ("fetch", "GET_BATCH_COMPLETED", 1, 1), ("step", "ITERATION_COMPLETED", 1, 1),
    ]  # fmt: skip


def test_handlers_see_the_event_behind_theirs() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    seen: list[Any] = []
    for event in Events:
        engine.add_event_handler(event, lambda: seen.append(engine.position.next_event))
    engine.run([1])

    assert seen == [
        "EPOCH_STARTED", "GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED", "ITERATION_COMPLETED",
        "EPOCH_COMPLETED", "EPOCH_STARTED", None,
    ]  # fmt: skip


def test_a_pass_is_open_from_its_first_fetch_to_its_end() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    seen: list[Any] = []
    for event in (Events.STARTED, Events.GET_BATCH_STARTED, Events.DATALOADER_STOP_ITERATION, Events.EPOCH_COMPLETED):
        engine.add_event_handler(
            event,
            lambda: seen.append((engine.last_event_name.name, engine.position.data_pass, engine.position.pass_open)),
        )
    engine.run([1], max_epochs=2)

    assert seen == [
        ("STARTED", 0, False), ("GET_BATCH_STARTED", 0, True), ("EPOCH_COMPLETED", 0, True),
        ("GET_BATCH_STARTED", 0, True), ("DATALOADER_STOP_ITERATION", 1, False), ("EPOCH_COMPLETED", 1, True),
    ]  # fmt: skip


positions = st.builds(
    Position,
    epoch=st.integers(1, 5),
    epoch_iteration=st.integers(0, 5),
    iteration=st.integers(5, 20),
    data_pass=st.integers(0, 3),
    batch=st.integers(1, 5),
    pass_open=st.booleans(),
    stage=st.sampled_from(("EPOCH_STARTED", "GET_BATCH_STARTED", "ITERATION_STARTED", "EPOCH_COMPLETED")),
    over=st.booleans(),
    awaits_data=st.just(False),
    skips_epoch_completed=st.booleans(),
    data_state=st.none(),
)


@given(positions)
def test_a_cursor_gives_back_the_position_that_it_was_made_from(position: Position) -> None:
    assert Cursor(position).snapshot(position.iteration) == position


def test_limits_are_reached_only_where_nothing_but_completed_is_left() -> None:
    at_end = Position(epoch=2, epoch_iteration=2, iteration=4, stage="EPOCH_STARTED")

    assert at_end.is_finished(2, None)
    assert not at_end.is_finished(3, None)
    assert not at_end._replace(stage="EPOCH_COMPLETED").is_finished(2, None)
    assert at_end._replace(stage="GET_BATCH_STARTED").is_finished(None, 4)
    assert not at_end._replace(stage="EPOCH_COMPLETED").is_finished(None, 4)
    assert not at_end.is_finished(None, 5)
