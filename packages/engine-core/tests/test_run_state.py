"""What the state of a run holds, and what a run holds on to."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from run_parts import PER_ITERATION, make

from camshaft.engine import Engine, Events, State
from camshaft.engine.testing import record_events


def test_a_batch_replaced_at_iteration_started_reaches_the_step() -> None:
    engine = make()

    @engine.on(Events.ITERATION_STARTED)
    def double() -> None:
        engine.state.batch *= 2

    outputs: list[int] = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: outputs.append(engine.state.output))
    engine.run([1, 2, 3])

    assert outputs == [2, 4, 6]


@pytest.mark.parametrize("others", [False, True])
def test_a_batch_can_be_read_until_the_next_get_batch_started_was_handled(others: bool) -> None:
    engine = make()
    seen: list[tuple[str, Any]] = []
    for event in (Events.GET_BATCH_STARTED, Events.EPOCH_COMPLETED, Events.COMPLETED):
        # Scheduled or not, alone or not: the batch is there in every case.
        filtered = event if event is Events.COMPLETED else event(event_filter=lambda engine, value: True)
        engine.add_event_handler(filtered, lambda: seen.append((engine.last_event_name.name, engine.state.batch)))
    if others:
        record_events(engine)
    engine.run([1, 2, 3])

    assert seen == [
        ("GET_BATCH_STARTED", None), ("GET_BATCH_STARTED", 1), ("GET_BATCH_STARTED", 2),
        ("EPOCH_COMPLETED", 3), ("COMPLETED", 3),
    ]  # fmt: skip
    assert engine.state.batch is None
    assert engine.state.output == 3


def test_a_scheduled_handler_of_get_batch_started_sees_the_batch_before() -> None:
    engine = make()
    seen: list[Any] = []
    engine.add_event_handler(Events.GET_BATCH_STARTED(once=[3, 5]), lambda: seen.append(engine.state.batch))
    engine.run([1, 2, 3, 4, 5, 6])

    assert seen == [3, 5]


class Batch:
    alive = 0
    most = 0

    def __init__(self) -> None:
        type(self).alive += 1
        type(self).most = max(self.most, self.alive)

    def __del__(self) -> None:
        type(self).alive -= 1


@pytest.mark.parametrize(
    "event",
    [None, Events.COMPLETED, *PER_ITERATION, Events.ITERATION_COMPLETED(every=2), Events.ITERATION_STARTED(once=3),
     Events.GET_BATCH_STARTED(every=3), Events.GET_BATCH_COMPLETED(after=2)],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("signals", [False, True])
def test_two_batches_are_never_alive_together(event: Any, signals: bool) -> None:
    Batch.alive = Batch.most = 0
    engine: Engine[Any, Any] = Engine(lambda engine, batch: engine.set_data(engine.state.dataloader) and None)
    if not signals:
        engine = Engine(lambda engine, batch: None)
    if event is not None:
        engine.add_event_handler(event, lambda: None)

    class Data:
        def __iter__(self) -> Iterator[Batch]:
            return (Batch() for _ in range(9))

    gc.disable()
    try:
        engine.run(Data(), max_epochs=2, epoch_length=9)
        assert (Batch.alive, Batch.most) == (0, 1)
    finally:
        gc.enable()


def test_a_state_replaced_in_a_handler_takes_over_the_run() -> None:
    engine = make()
    mine: State[Any, Any] = State(note="mine")

    @engine.on(Events.ITERATION_COMPLETED(once=2))
    def change() -> None:
        engine.state = mine

    state = engine.run([1, 2, 3], max_epochs=2)

    assert state is mine
    assert (mine.note, mine.iteration, mine.epoch, mine.output, mine.epoch_length) == ("mine", 6, 2, 3, 3)


def test_a_state_replaced_in_the_step_gets_its_output() -> None:
    mine: State[Any, Any] = State()
    outputs: list[Any] = []

    def step(engine: Engine[Any, Any], batch: Any) -> Any:
        if batch == 2:
            engine.state = mine
        return 10 * batch

    engine: Engine[Any, Any] = Engine(step)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: outputs.append(engine.state.output))
    engine.run([1, 2, 3])

    assert outputs == [10, 20, 30]
    assert mine.iteration == 3


@pytest.mark.parametrize("listening", [False, True])
def test_a_state_replaced_while_fetching_gets_the_batch(listening: bool) -> None:
    def data() -> Iterator[int]:
        yield 1
        engine.state = State()
        yield 2
        yield 3

    seen: list[Any] = []

    def step(engine: Engine[Any, Any], batch: Any) -> None:
        seen.append((batch, engine.state.batch, engine.state.iteration))

    engine: Engine[Any, Any] = Engine(step)
    if listening:
        record_events(engine)
    engine.run(data())

    assert seen == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]


def test_times_handlers_read_exclude_their_own_event_and_the_final_ones_include_it() -> None:
    engine = make()
    seen: list[float] = []
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: seen.append(engine.state.times["EPOCH_COMPLETED"]))
    engine.add_event_handler(Events.COMPLETED, lambda: seen.append(engine.state.times["COMPLETED"]))
    assert engine.state.times == {"EPOCH_COMPLETED": None, "COMPLETED": None}
    times = engine.run([1, 2]).times

    assert 0 < seen[0] < times["EPOCH_COMPLETED"]
    assert times["EPOCH_COMPLETED"] < seen[1] < times["COMPLETED"]


def test_a_run_leaves_no_reference_to_batch_or_iterator() -> None:
    class Tracked:
        pass

    class Source:
        def __iter__(self) -> Iterator[Any]:
            iterator = Numbers()
            references.append(weakref.ref(iterator))
            return iterator

    class Numbers:
        def __init__(self) -> None:
            self.left = 3

        def __iter__(self) -> Iterator[Any]:
            return self

        def __next__(self) -> Any:
            if not self.left:
                raise StopIteration
            self.left -= 1
            batch = Tracked()
            references.append(weakref.ref(batch))
            return batch

    references: list[weakref.ref[Any]] = []
    source = Source()
    gc.disable()
    try:
        engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
        engine.run(source, max_epochs=2, epoch_length=3)
        assert len(references) == 8
        assert [reference() for reference in references] == [None] * 8
        assert engine.state.dataloader is source
    finally:
        gc.enable()
