from __future__ import annotations

from typing import Any

import pytest

from camshaft.engine import Engine, Events
from camshaft.engine.testing import Entry, Oracle, Programme, Stop, record_events

ITERATION = ["GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED", "STEP", "ITERATION_COMPLETED"]


def names(entries: list[Entry]) -> list[str]:
    return [entry.event for entry in entries]


def test_the_oracle_knows_the_order_of_two_epochs_by_heart() -> None:
    assert names(Oracle(Programme(lengths=(2,), max_epochs=2)).run()) == [
        "STARTED",
        "EPOCH_STARTED", *ITERATION, *ITERATION, "EPOCH_COMPLETED",
        "EPOCH_STARTED", "GET_BATCH_STARTED", "DATALOADER_STOP_ITERATION", *ITERATION[1:], *ITERATION,
        "EPOCH_COMPLETED",
        "COMPLETED",
    ]  # fmt: skip


def test_the_oracle_knows_the_ends_of_iterators_by_heart() -> None:
    unknown = Programme(kind="iterator", lengths=(1,), max_epochs=2)
    assert names(Oracle(unknown).run()) == [
        "STARTED",
        "EPOCH_STARTED", *ITERATION, "GET_BATCH_STARTED", "EPOCH_COMPLETED",
        "EPOCH_STARTED", "GET_BATCH_STARTED", "DATALOADER_STOP_ITERATION", "EPOCH_COMPLETED",
        "COMPLETED",
    ]  # fmt: skip
    cut = Programme(lengths=(3,), max_iters=1)
    assert names(Oracle(cut).run())[-3:] == ["ITERATION_COMPLETED", "TERMINATE", "COMPLETED"]


@pytest.mark.parametrize(
    ("action", "tail", "again"),
    [
        ("terminate", ["STEP", "ITERATION_COMPLETED", "TERMINATE", "COMPLETED"], ["STARTED", "EPOCH_COMPLETED"]),
        ("interrupt", ["STEP", "ITERATION_COMPLETED", "INTERRUPT"], ["EPOCH_COMPLETED", "COMPLETED"]),
        ("raise", ["ITERATION_STARTED", "STEP", "EXCEPTION_RAISED"], ["STARTED", "STEP"]),
    ],
)
def test_the_oracle_knows_stops_in_the_step_by_heart(action: Any, tail: list[str], again: list[str]) -> None:
    oracle = Oracle(Programme(lengths=(2,), stops=[Stop("STEP", 2, action)]))

    assert names(oracle.run())[-len(tail) :] == tail
    assert names(oracle.run())[:2] == again


def test_the_oracle_knows_an_ended_epoch_by_heart() -> None:
    oracle = Oracle(Programme(lengths=(3,), max_epochs=2, stops=[Stop("STEP", 1, "terminate_epoch")]))
    entries = oracle.run()
    place = names(entries).index("TERMINATE_SINGLE_EPOCH")

    assert names(entries)[place - 1 : place + 3] == [
        "ITERATION_COMPLETED", "TERMINATE_SINGLE_EPOCH", "EPOCH_COMPLETED", "EPOCH_STARTED",
    ]  # fmt: skip
    assert entries[place].detail == 1
    assert oracle.done == 4


def test_a_log_has_the_counters_of_each_event_until_it_is_stopped() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: engine.fire_event("halfway"))
    engine.register_events("halfway")
    log = record_events(engine, "halfway")
    engine.run([1])
    assert log[4:7] == [
        Entry("ITERATION_STARTED", 1, 1), Entry("halfway", 1, 1), Entry("ITERATION_COMPLETED", 1, 1),
    ]  # fmt: skip
    log.stop()
    count = len(log)
    engine.run([1])

    assert len(log) == count
    assert not engine.has_event_handler(print)


def test_a_log_sees_failures_and_counts_of_ended_epochs() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: 1 / 0 if batch == 2 else engine.terminate_epoch())
    log = record_events(engine)
    engine.run([1, 2], max_epochs=2)
    assert Entry("TERMINATE_SINGLE_EPOCH", 1, 1, 1) in log

    with pytest.raises(ZeroDivisionError):
        engine.run([2])
    assert log.names[-1] == Events.EXCEPTION_RAISED.name
