from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning, Events, Position
from camshaft.engine._data import as_own_iterator, make_source, pass_length, require_data

INSIDE = Position(epoch=1, epoch_iteration=2, iteration=2, batch=2, pass_open=True, stage="GET_BATCH_STARTED")


def open_data(data: Any, position: Position) -> Iterator[Any]:
    return make_source(data).open(position)


class Plain:
    def __iter__(self) -> Iterator[str]:
        return iter("abcd")


class Lying:
    def __len__(self) -> int:
        return 9

    def __getitem__(self, place: int) -> str:
        return "abcd"[place]


@pytest.mark.parametrize("data", [3, 2.5, object(), len], ids=lambda data: type(data).__name__)
def test_what_cannot_be_iterated_is_a_type_error(data: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="`data` must be iterable"):
        require_data(data)


def test_data_without_a_batch_is_refused() -> None:
    for data in ([], "", {}, range(0)):
        with pytest.raises(ArgumentError, match="at least one batch"):
            require_data(data)


def test_any_iterable_is_taken_and_so_is_none() -> None:
    taken = ("a", [1], Plain(), Lying(), iter([]), None)

    assert [require_data(data) for data in taken] == [None] * len(taken)  # type: ignore[func-returns-value]


def test_a_pass_that_is_not_open_starts_at_its_beginning() -> None:
    for data in ("abcd", Plain(), iter("abcd"), Lying()):
        assert list(open_data(data, Position())) == ["a", "b", "c", "d"]


def test_a_sequence_is_opened_after_what_was_consumed_whatever_its_len_says() -> None:
    assert list(open_data("abcd", INSIDE)) == ["c", "d"]
    assert list(open_data(Lying(), INSIDE)) == ["c", "d"]
    assert list(open_data("ab", INSIDE)) == []


def test_a_mapping_is_no_sequence_and_starts_again_with_a_warning() -> None:
    with pytest.warns(EngineWarning, match="after batch 2.*DeterministicEngine"):
        assert list(open_data({"a": 1, "b": 2, "c": 3}, INSIDE)) == ["a", "b", "c"]


def test_an_iterator_goes_on_where_it_is() -> None:
    iterator = iter("abcd")
    next(iterator)

    assert list(open_data(iterator, INSIDE)) == ["b", "c", "d"]


def test_anything_else_starts_again_with_one_warning_inside_a_pass_only() -> None:
    with pytest.warns(EngineWarning, match="starts again") as caught:
        assert list(open_data(Plain(), INSIDE)) == ["a", "b", "c", "d"]
    assert len(caught) == 1
    assert list(open_data(Plain(), INSIDE._replace(batch=0))) == ["a", "b", "c", "d"]


def test_a_batch_that_an_iterator_has_given_already_is_lost_with_a_warning() -> None:
    with pytest.warns(EngineWarning, match=r"fetched for iteration 3.*lost"):
        open_data(iter("cd"), INSIDE._replace(stage="ITERATION_COMPLETED"))


def test_no_data_gives_none_for_ever() -> None:
    iterator = open_data(None, INSIDE)

    assert [next(iterator) for _ in range(3)] == [None] * 3


def test_stateful_data_is_opened_through_its_own_state() -> None:
    class Saving(Plain):
        loaded: Any = None

        def state_dict(self) -> None: ...

        def load_state_dict(self, state: Any) -> None:
            self.loaded = state

        def __iter__(self) -> Iterator[str]:
            return iter("abcd"[self.loaded or 0 :])

    data = Saving()

    assert list(open_data(data, INSIDE._replace(data_state=3))) == ["d"]
    with pytest.warns(EngineWarning, match="starts again"):
        open_data(Saving(), INSIDE)


class OwnIterator:
    """Data that is its own iterator, and begins again whenever `iter` is called."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Any]:
        self.left = list(self.batches)
        return self

    def __next__(self) -> Any:
        if not self.left:
            raise StopIteration
        return self.left.pop(0)


def test_a_lasting_iterator_is_not_begun_again_by_iter() -> None:
    lasting = as_own_iterator(iter(OwnIterator(["a", "b", "c"])))

    assert [next(lasting), *list(lasting)] == ["a", "b", "c"]


def test_a_lasting_iterator_compares_no_batches() -> None:
    class Incomparable:
        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth value of an array is ambiguous")

        __hash__ = None  # type: ignore[assignment]  # as arrays have none

    assert len(list(as_own_iterator(iter(OwnIterator([Incomparable(), Incomparable()]))))) == 2


def test_an_iterator_of_the_standard_library_is_used_as_it_is() -> None:
    for iterator in (iter([1]), iter({}), map(str, "a"), (each for each in "a")):
        assert as_own_iterator(iterator) is iterator


def test_a_loader_that_is_its_own_iterator_starts_again_inside_a_pass_with_a_warning() -> None:
    with pytest.warns(EngineWarning, match="after batch 2.*DeterministicEngine"):
        assert list(as_own_iterator(open_data(OwnIterator(["a", "b", "c"]), INSIDE))) == ["a", "b", "c"]


def test_a_pass_that_was_used_up_has_nothing_left_and_loses_nothing() -> None:
    used_up = INSIDE._replace(batch=3)

    assert list(open_data(OwnIterator(["a", "b", "c"]), used_up)) == []
    assert list(open_data({"a": 1, "b": 2, "c": 3}, used_up)) == []


def test_stateful_data_saves_its_state_inside_a_pass_only() -> None:
    class Saving(Plain):
        def state_dict(self) -> dict[str, int]:
            return {"place": 2}

        def load_state_dict(self, state: Any) -> None: ...

    source = make_source(Saving())

    assert source.state(INSIDE) == {"place": 2}
    assert source.state(Position()) is None


def test_a_pass_over_an_iterator_never_ends_and_other_passes_are_as_long_as_can_be_known() -> None:
    assert pass_length(iter("abc"), 2) is None
    assert pass_length("abc", 2) == 3
    assert pass_length(Plain(), 2) == 2


class BeginsAnew:
    """Data that is its own iterator, and gives batches again by itself after its end."""

    def __init__(self) -> None:
        self.next_one = 0
        self.begun = 0

    def __iter__(self):
        self.begun += 1
        return self

    def __next__(self):
        self.next_one += 1
        if self.next_one > 3:
            self.next_one = 0
            raise StopIteration
        return self.next_one


def test_a_pass_is_over_at_its_end_also_if_the_data_would_begin_anew_by_itself():
    data, events = BeginsAnew(), []
    engine = Engine(lambda engine, batch: None)
    engine.add_event_handler(Events.DATALOADER_STOP_ITERATION, lambda: events.append(engine.state.iteration))
    engine.run(data, max_epochs=3)

    assert data.begun == 3
    assert events == [3, 6]
    assert engine.state.iteration == 9
