from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning, Events, State
from camshaft.engine._run import Run
from camshaft.engine.testing import record_events

ITERATION = ["GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED", "ITERATION_COMPLETED"]
PER_ITERATION = [Events[name] for name in ITERATION]


def make() -> Engine[Any, Any]:
    return Engine(lambda engine, batch: batch)


class Unsized:
    """Data that can be started again and does not know its length."""

    def __init__(self, *passes: list[Any]) -> None:
        self.passes = list(passes)
        self.begun = 0

    def __iter__(self) -> Iterator[Any]:
        self.begun += 1
        return iter(self.passes[min(self.begun, len(self.passes)) - 1])


# ---------------------------------------------------------------------- the order of events


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


# ---------------------------------------------------------------------- epochs and passes over the data


def test_shorter_epochs_go_on_in_the_same_pass() -> None:
    seen: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append((engine.state.epoch, batch)))
    engine.run("abcde", max_epochs=2, epoch_length=3)

    assert seen == [(1, "a"), (1, "b"), (1, "c"), (2, "d"), (2, "e"), (2, "a")]


def test_longer_epochs_start_the_data_again_in_their_middle() -> None:
    seen: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))
    log = record_events(engine)
    engine.run("ab", epoch_length=5)

    assert "".join(seen) == "ababa"
    assert log.names.count("DATALOADER_STOP_ITERATION") == 2


def test_an_unknown_length_is_found_at_the_end_of_the_iterator_without_a_stop_event() -> None:
    engine = make()
    log = record_events(engine)
    state = engine.run(iter([1, 2, 3]))

    assert state.epoch_length == 3
    assert "DATALOADER_STOP_ITERATION" not in log.names
    assert log.names[-2:] == ["EPOCH_COMPLETED", "COMPLETED"]


def test_a_len_that_raises_type_error_is_unknown() -> None:
    class Untold(Unsized):
        def __len__(self) -> int:
            raise TypeError("unknown")

    assert make().run(Untold([1, 2, 3])).epoch_length == 3


def test_a_len_that_raises_anything_else_is_the_users_error() -> None:
    class Broken(Unsized):
        def __len__(self) -> int:
            raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        make().run(Broken([1]))


def test_a_new_iterator_put_in_place_at_the_stop_event_takes_effect() -> None:
    seen: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))

    @engine.on(Events.DATALOADER_STOP_ITERATION)
    def renew() -> None:
        engine.state.dataloader = iter([10 * engine.state.epoch, 10 * engine.state.epoch + 1])

    engine.run(iter([1, 2]), max_epochs=3)

    assert seen == [1, 2, 20, 21, 30, 31]


def test_an_exhausted_iterator_gives_empty_epochs_each_with_its_events_and_a_warning() -> None:
    engine = make()
    log = record_events(engine)
    with pytest.warns(EngineWarning) as caught:
        state = engine.run(iter([1, 2]), max_epochs=3)

    assert ["epoch 2 ends after 0 of 2 iterations" in str(caught[0].message), "epoch 3" in str(caught[1].message)] == [
        True,
        True,
    ]
    empty = ["EPOCH_STARTED", "GET_BATCH_STARTED", "DATALOADER_STOP_ITERATION", "EPOCH_COMPLETED"]
    assert log.names[-9:] == [*empty, *empty, "COMPLETED"]
    assert (state.epoch, state.iteration) == (3, 2)


def test_an_exhausted_iterator_ends_a_run_that_counts_iterations() -> None:
    engine = make()
    log = record_events(engine)
    with pytest.warns(EngineWarning, match="epoch 2 ends after 0 of 2 iterations"):
        state = engine.run(iter([1, 2]), max_iters=100)

    assert log.names[-5:] == [
        "EPOCH_STARTED", "GET_BATCH_STARTED", "DATALOADER_STOP_ITERATION", "EPOCH_COMPLETED", "COMPLETED",
    ]  # fmt: skip
    assert state.iteration == 2


def test_an_iterator_that_ends_inside_an_epoch_of_known_length_ends_it_with_a_warning() -> None:
    engine = make()
    log = record_events(engine)
    with pytest.warns(EngineWarning, match="epoch 1 ends after 3 of 5 iterations"):
        state = engine.run(iter([1, 2, 3]), epoch_length=5)

    assert log.names[-4:] == ["GET_BATCH_STARTED", "DATALOADER_STOP_ITERATION", "EPOCH_COMPLETED", "COMPLETED"]
    assert state.iteration == 3


def test_data_that_gives_fewer_batches_than_its_len_is_started_again_with_one_warning_with_both_numbers() -> None:
    class Lying(Unsized):
        def __len__(self) -> int:
            return 4

    engine = make()
    with pytest.warns(EngineWarning) as caught:
        state = engine.run(Lying([1, 2, 3]), max_epochs=2)

    assert ["the data gave 3 batches though its len() is 4; it is started again"] == [str(w.message) for w in caught]
    assert state.iteration == 8


def test_data_that_gives_more_batches_than_its_len_goes_on_in_the_next_epoch() -> None:
    class Modest(Unsized):
        def __len__(self) -> int:
            return 2

    data = Modest([1, 2, 3])
    seen: list[Any] = []
    Engine(lambda engine, batch: seen.append(batch)).run(data, max_epochs=2)

    assert seen == [1, 2, 3, 1]


@pytest.mark.parametrize("epoch_length", [None, 3])
def test_an_iterator_without_a_single_batch_is_refused(epoch_length: int | None) -> None:
    with pytest.raises(ArgumentError, match="at least one batch"):
        make().run(iter([]), epoch_length=epoch_length)


def test_epochs_of_varying_length_keep_the_length_of_the_first() -> None:
    data = Unsized([1, 2], [3], [4, 5, 6])
    seen: list[Any] = []
    Engine(lambda engine, batch: seen.append((engine.state.epoch, batch))).run(data, max_epochs=3)

    assert seen == [(1, 1), (1, 2), (2, 3), (2, 4), (3, 5), (3, 6)]


def test_endless_data_is_bounded_by_the_length_of_the_epoch() -> None:
    def endless() -> Iterator[int]:
        number = 0
        while True:
            number += 1
            yield number

    assert make().run(endless(), max_epochs=2, epoch_length=3).output == 6


@pytest.mark.parametrize("place", [1, 2, 3])
def test_data_that_raises_ends_the_run_with_its_error_behind_the_iterations_before(place: int) -> None:
    def failing() -> Iterator[int]:
        for number in range(1, 5):
            if number == place:
                raise OSError("unreadable")
            yield number

    engine = make()
    log = record_events(engine)
    with pytest.raises(OSError, match="unreadable"):
        engine.run(failing(), epoch_length=4)

    assert engine.state.iteration == place - 1
    assert log.names[-2:] == ["GET_BATCH_STARTED", "EXCEPTION_RAISED"]


@pytest.mark.parametrize("every", [1, 2, 3])
def test_data_that_is_its_own_iterator_and_begins_again_at_iter_is_not_begun_again_inside_a_pass(every: int) -> None:
    class Loader:
        def __len__(self) -> int:
            return 5

        def __iter__(self) -> Iterator[int]:
            self.given = 0
            return self

        def __next__(self) -> int:
            if self.given == 5:
                raise StopIteration
            self.given += 1
            return self.given

    used: list[int] = []
    engine: Engine[int, None] = Engine(lambda engine, batch: used.append(batch))
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=every), lambda: None)
    engine.run(Loader(), max_epochs=2)

    assert used == [1, 2, 3, 4, 5] * 2


def test_set_data_takes_effect_at_the_next_batch_and_keeps_the_epoch_length() -> None:
    seen: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: engine.set_data("vwxyz"))
    state = engine.run("abc", max_epochs=2)

    assert "".join(seen) == "abvwxy"
    assert state.epoch_length == 3
    assert state.dataloader == "vwxyz"


@pytest.mark.parametrize("event", [*PER_ITERATION, Events.EPOCH_STARTED, Events.STARTED])
def test_set_data_in_any_event_loses_no_batch_that_was_fetched(event: Events) -> None:
    seen: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))
    done: list[bool] = []

    @engine.on(event)
    def change() -> None:
        if not done and engine.state.iteration >= (1 if event in PER_ITERATION else 0):
            done.append(True)
            engine.set_data("xyz")

    engine.run("abc")

    expected = {
        Events.GET_BATCH_STARTED: "axy", Events.GET_BATCH_COMPLETED: "abx", Events.ITERATION_STARTED: "axy",
        Events.ITERATION_COMPLETED: "axy", Events.EPOCH_STARTED: "xyz", Events.STARTED: "xyz",
    }  # fmt: skip
    assert "".join(seen) == expected[event]


def test_set_data_from_the_step_takes_effect_behind_it() -> None:
    seen: list[Any] = []

    def step(engine: Engine[Any, Any], batch: Any) -> None:
        seen.append(batch)
        if batch == "b":
            engine.set_data("xyz")

    Engine(step).run("abcd")

    assert "".join(seen) == "abxy"


# ---------------------------------------------------------------------- limits


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


# ---------------------------------------------------------------------- batch, output, state


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


# ---------------------------------------------------------------------- handlers that change handlers


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


# ---------------------------------------------------------------------- counters that a user sets


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


# ---------------------------------------------------------------------- copies


@pytest.mark.parametrize(
    "event", [Events.STARTED, Events.ITERATION_STARTED(once=2), Events.ITERATION_COMPLETED(once=2)]
)
def test_a_copy_made_inside_a_run_stands_there_and_is_not_running(event: Any) -> None:
    copies: list[Engine[Any, Any]] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: (engine.state.iteration, batch))
    engine.add_event_handler(event, lambda engine: copies.append(deepcopy(engine)))
    engine.run("abc", max_epochs=2)
    twin = copies[0]
    done = twin.position.iteration

    assert not twin.is_running
    assert twin.state.iteration == done
    twin.terminate()
    assert engine.position.over
    assert not engine.should_terminate
    log = record_events(twin)
    with pytest.warns(EngineWarning, match="terminate"):
        twin.run()
    twin.run()

    assert twin.state.iteration == 6
    assert log.names.count("ITERATION_COMPLETED") == 6 - done


# ---------------------------------------------------------------------- data whose length raises


class Combined:
    """Knows its length only while it is iterated, and says so with an error of its own."""

    def __len__(self) -> int:
        raise RuntimeError("Please call `iter(combined_loader)` first.")

    def __iter__(self) -> Any:
        return iter("abcd")


def test_data_whose_length_raises_is_run_when_the_epoch_length_is_given() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: batch)

    assert engine.run(Combined(), max_epochs=2, epoch_length=2).output == "d"
    assert engine.state_dict()["iteration"] == 4


# ---------------------------------------------------------------------- what a failure leaves behind


def test_a_state_saved_after_a_failure_is_inexact_until_the_next_run() -> None:
    def step(engine: Engine[Any, Any], batch: Any) -> None:
        if batch == "b":
            raise OSError("disk")

    engine: Engine[Any, Any] = Engine(step)
    assert engine.is_exact
    with pytest.raises(OSError, match="disk"):
        engine.run("abc")
    assert not engine.is_exact
    engine.run("ac")

    assert engine.is_exact


def test_a_loaded_state_is_exact_whatever_was_before() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: 1 / batch)
    with pytest.raises(ZeroDivisionError):
        engine.run([1, 0])
    engine.load_state_dict({"iteration": 1, "max_epochs": 1, "epoch_length": 2})

    assert engine.is_exact


def test_an_iteration_number_is_given_out_once_though_its_epoch_is_cut_off() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    calls: list[int] = []

    @engine.on(Events.ITERATION_STARTED(once=14))
    def cut() -> None:
        calls.append(engine.state.epoch)
        engine.terminate_epoch()

    numbers: list[int] = []
    engine.add_event_handler(Events.ITERATION_STARTED, lambda: numbers.append(engine.state.iteration))
    state = engine.run(range(10), max_epochs=3)

    assert calls == [2]
    assert state.iteration == 24
    assert numbers == list(range(1, 25))


# ---------------------------------------------------------------------- what programs of other people have found


def test_an_error_that_comes_while_a_run_is_left_does_not_lose_its_position(monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=4), engine.terminate)
    leave, calls = Run.leave, []

    def cut_short(run: Run) -> None:
        calls.append(run)
        if len(calls) == 1:
            raise TimeoutError("from a signal handler")
        leave(run)

    monkeypatch.setattr(Run, "leave", cut_short)
    with pytest.raises(TimeoutError):
        engine.run("abc", max_epochs=2)

    assert engine.state_dict()["iteration"] == 4
    assert engine.run().iteration == 6


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


@pytest.mark.parametrize("way", ["continued", "loaded"])
def test_new_data_of_a_continued_run_must_give_a_batch(way: str) -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    engine.run("abc", max_epochs=3)
    if way == "loaded":
        engine.load_state_dict(engine.state_dict())

    with pytest.raises(ArgumentError, match="`data` must give at least one batch"):
        engine.run(iter([]))
    assert engine.state.iteration == 2


@pytest.mark.parametrize("event", [Events.GET_BATCH_COMPLETED, Events.ITERATION_STARTED, Events.ITERATION_COMPLETED])
def test_an_epoch_that_was_asked_to_end_ends_though_something_raises(event: Events) -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)

    def stop() -> None:
        engine.terminate_epoch()
        raise OSError("disk")

    with engine.add_event_handler(event(once=2), stop), pytest.raises(OSError, match="disk"):
        engine.run("abcd", max_epochs=2)
    log = record_events(engine)
    engine.run()

    assert log.names[:4] == ["STARTED", "TERMINATE_SINGLE_EPOCH", "EPOCH_COMPLETED", "EPOCH_STARTED"]


def test_a_loaded_position_is_saved_again_as_it_was() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), engine.terminate_epoch)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate)
    engine.run([1, 2, 3], max_epochs=4, epoch_length=2)
    saved = engine.state_dict()
    other: Engine[Any, Any] = Engine(lambda engine, batch: None)
    other.load_state_dict(saved)

    assert "position" in saved
    assert other.state_dict() == saved


@pytest.mark.parametrize("value", ["2", None, [1]], ids=str)
def test_a_counter_that_is_no_number_is_refused_and_put_back(value: Any) -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    handle = engine.add_event_handler(Events.STARTED, lambda: setattr(engine.state, "iteration", value))

    with pytest.raises(ArgumentError, match="`state.iteration` must be an integer"):
        engine.run([1, 2])
    handle.remove()
    assert engine.run([1, 2]).iteration == 2


def test_data_set_before_a_run_that_is_given_its_own_changes_nothing() -> None:
    seen: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    data = [1, 2, 3]
    engine.run(data, max_epochs=2)
    engine.set_data([7, 8, 9])
    engine.run(data)

    assert seen == [1, 2, 3, 1, 2, 3]


def test_handlers_of_a_copy_act_on_the_copy() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.terminate)
    twin = deepcopy(engine)
    state = twin.run("abc", max_epochs=2)

    assert state.iteration == 2
    assert not engine.should_terminate
    assert twin.has_event_handler(twin.terminate)
    assert deepcopy(Events.STARTED(every=2)).filter == Events.STARTED(every=2).filter


def test_a_state_without_a_limit_is_that_of_a_new_run() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    engine.run("abc", max_epochs=2)
    engine.state.max_epochs = None
    other: Engine[Any, Any] = Engine(lambda engine, batch: None)
    other.load_state_dict(engine.state_dict())

    assert other.run("abc").iteration == 3


class Keeper:
    """Something with a state, which may refuse one."""

    def __init__(self, value: int, refuses: bool = False) -> None:
        self.value = value
        self.refuses = refuses

    def state_dict(self) -> dict[str, int]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, int]) -> None:
        if self.refuses and state["value"] != self.value:
            raise ValueError("refused")
        self.value = state["value"]


def test_the_objects_of_an_engine_are_loaded_all_or_none() -> None:
    saved: Engine[Any, Any] = Engine(lambda engine, batch: None)
    saved.stateful.update(first=Keeper(1), second=Keeper(2))
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    first = Keeper(10)
    engine.stateful.update(first=first, second=Keeper(20, refuses=True))

    with pytest.raises(ValueError, match="refused"):
        engine.load_state_dict(saved.state_dict())
    assert first.value == 10


def test_calls_that_cannot_be_made_are_refused_at_once() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)

    with pytest.raises(ArgumentTypeError, match="`callback` must be callable, got None"):
        engine.at_safe_point(None)  # type: ignore[arg-type]  # what is tried
    with pytest.raises(ArgumentTypeError, match="`wrap` must be callable"):
        engine.wrap_handlers(None)  # type: ignore[arg-type]  # what is tried
    with pytest.raises(ArgumentError, match="`event` must be known"):
        engine.remove_event_handler(print, None)  # type: ignore[arg-type]  # what is tried


def test_an_early_terminate_is_honoured_once_though_its_warning_is_an_error() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.terminate()

    with pytest.raises(EngineWarning, match="before this run"):
        engine.run("ab")
    assert engine.run("ab").iteration == 2


def test_data_that_cannot_give_its_state_does_not_hide_what_has_failed() -> None:
    class Broken:
        def __iter__(self) -> Any:
            return iter("abc")

        def state_dict(self) -> Any:
            raise OSError("no state")

        def load_state_dict(self, state: Any) -> None: ...

    engine: Engine[Any, Any] = Engine(lambda engine, batch: 1 // 0)

    with pytest.warns(EngineWarning, match="no state.*not saved"), pytest.raises(ZeroDivisionError):
        engine.run(Broken())


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
