"""The data of a run: epochs, passes, lengths, other data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from run_parts import PER_ITERATION, Unsized, make

from camshaft.engine import ArgumentError, Engine, EngineWarning, Events
from camshaft.engine.testing import record_events


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


def test_data_set_before_a_run_that_is_given_its_own_changes_nothing() -> None:
    seen: list[Any] = []
    engine: Engine[Any, Any] = Engine(lambda engine, batch: seen.append(batch))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), engine.interrupt)
    data = [1, 2, 3]
    engine.run(data, max_epochs=2)
    engine.set_data([7, 8, 9])
    engine.run(data)

    assert seen == [1, 2, 3, 1, 2, 3]


class Handing(list[int]):
    """Hands on the state of something that has none, as wrappers of loaders do."""

    def __iter__(self) -> Any:
        return super().__iter__()

    def state_dict(self) -> Any:
        return object().state_dict()  # type: ignore[attr-defined]  # this is what it is about

    def load_state_dict(self, state: Any) -> None:
        raise AssertionError


def test_a_run_over_data_that_hands_on_a_state_that_is_not_there_ends_as_any_other() -> None:
    assert 4 == Engine(lambda engine, batch: None).run(Handing([1, 2]), max_epochs=2).iteration
