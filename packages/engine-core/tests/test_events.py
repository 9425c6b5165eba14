from __future__ import annotations

import pickle
from typing import Any

import pytest

from camshaft.engine import (
    ArgumentError,
    ArgumentTypeError,
    CallableEventWithFilter,
    Engine,
    EventEnum,
    Events,
    EventsList,
)


class Ours(EventEnum):
    STARTED = "started"
    HALFWAY = "halfway"


class Theirs(EventEnum):
    HALFWAY = "halfway"


def test_the_built_in_events_are_those_of_the_contract() -> None:
    assert [event.name for event in Events] == [
        "STARTED", "EPOCH_STARTED", "GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED",
        "ITERATION_COMPLETED", "DATALOADER_STOP_ITERATION", "EXCEPTION_RAISED", "TERMINATE_SINGLE_EPOCH", "TERMINATE",
        "INTERRUPT", "EPOCH_COMPLETED", "COMPLETED",
    ]  # fmt: skip


def test_members_are_events_without_a_filter() -> None:
    assert isinstance(Ours.HALFWAY, CallableEventWithFilter)
    assert Ours.HALFWAY.filter is None
    assert (Ours.HALFWAY.name, Ours.HALFWAY.value) == ("HALFWAY", "halfway")
    assert str(Ours.HALFWAY) == "Ours.HALFWAY"


def test_a_filtered_event_equals_and_hashes_like_its_base() -> None:
    filtered = Events.ITERATION_COMPLETED(every=3)

    assert filtered == Events.ITERATION_COMPLETED
    assert Events.ITERATION_COMPLETED == filtered
    assert filtered == Events.ITERATION_COMPLETED(once=1)
    assert hash(filtered) == hash(Events.ITERATION_COMPLETED)
    assert (filtered.name, filtered.value) == ("ITERATION_COMPLETED", "iteration_completed")
    assert filtered.event is Events.ITERATION_COMPLETED
    assert {filtered: 1}[Events.ITERATION_COMPLETED] == 1
    assert "ITERATION_COMPLETED" in repr(filtered)


def test_members_of_different_enums_differ_even_with_equal_names() -> None:
    assert Ours.HALFWAY != Theirs.HALFWAY
    assert Ours.STARTED != Events.STARTED
    assert len({Ours.HALFWAY, Theirs.HALFWAY, Ours.HALFWAY(event_filter=lambda engine, value: True)}) == 2
    assert Events.STARTED != "started"


def test_a_filter_can_be_asked_directly() -> None:
    event = Events.ITERATION_COMPLETED(every=3)

    assert event.filter is not None
    assert [value for value in range(10) if event.filter(None, value)] == [0, 3, 6, 9]


def test_a_filtered_event_can_be_filtered_anew() -> None:
    again = Events.EPOCH_COMPLETED(every=3)(once=2)

    assert again.filter is not None
    assert [value for value in range(9) if again.filter(None, value)] == [2]


def test_events_are_immutable() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        Events.STARTED(event_filter=lambda engine, value: True).name = "x"


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"event_filter": lambda engine, value: True, "every": 2},
        {"event_filter": lambda engine, value: True, "once": 2},
        {"event_filter": lambda engine, value: True, "before": 2},
        {"once": 1, "every": 1},
        {"once": 1, "after": 1},
    ],
)
def test_only_one_family_of_filters_is_taken(arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="filter|once"):
        Events.ITERATION_STARTED(**arguments)


def test_a_misspelt_filter_is_named_beside_those_that_there_are() -> None:
    known = "`event_filter`, `every`, `once`, `before`, `after`"
    with pytest.raises(ArgumentTypeError, match=f"`evrey` must be one of {known}, got {{'evrey': 2}}"):
        Events.ITERATION_STARTED(evrey=2)  # type: ignore[arg-type]  # refused by type checkers, too


@pytest.mark.parametrize(
    "event_filter", [lambda: True, lambda engine: True, lambda a, b, c: True, 3, "f"], ids=range(5)
)
def test_a_filter_that_cannot_be_called_with_two_arguments_is_refused(event_filter: Any) -> None:
    with pytest.raises(ArgumentError, match="event_filter"):
        Events.ITERATION_STARTED(event_filter=event_filter)


def test_an_event_filter_gets_the_engine_and_the_counter() -> None:
    asked = []

    def is_second(engine: Engine[Any, Any], value: int) -> bool:
        asked.append((engine, value))
        return value == 2

    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    called: list[int] = []
    engine.add_event_handler(
        Events.ITERATION_STARTED(event_filter=is_second), lambda: called.append(engine.state.iteration)
    )
    engine.run([0, 0, 0])

    assert called == [2]
    assert asked == [(engine, 1), (engine, 2), (engine, 3)]


def test_a_list_of_events_is_immutable_and_keeps_duplicates() -> None:
    first = Events.STARTED | Events.COMPLETED
    second = first | Events.ITERATION_STARTED(once=1) | Events.ITERATION_STARTED(once=1)

    assert len(first) == 2
    assert len(second) == 4
    assert [event.name for event in second][-2:] == ["ITERATION_STARTED", "ITERATION_STARTED"]
    assert second[0] is Events.STARTED
    assert list(Events.STARTED | first) == [Events.STARTED, Events.STARTED, Events.COMPLETED]
    assert list(first | first) == [*first, *first]
    assert repr(first) == "Events.STARTED | Events.COMPLETED"
    with pytest.raises(TypeError):
        first[0] = Events.STARTED  # type: ignore[index]  # what is tried is what is refused


@pytest.mark.parametrize("other", ["started", None, 3, Events, [Events.STARTED]])
def test_what_is_no_event_does_not_join_a_list(other: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="event"):
        _ = Events.STARTED | other
    with pytest.raises(ArgumentTypeError, match="event"):
        _ = (Events.STARTED | Events.COMPLETED) | other
    with pytest.raises(ArgumentTypeError, match="event"):
        EventsList(other)


def test_joining_changes_neither_side() -> None:
    left, right = EventsList(Events.STARTED), EventsList(Events.COMPLETED)
    _ = left | right

    assert (len(left), len(right)) == (1, 1)


def test_members_survive_pickling_as_themselves() -> None:
    assert pickle.loads(pickle.dumps(Events.STARTED)) is Events.STARTED  # made one line above


def test_auto_register_is_an_attribute_of_the_class_and_no_member() -> None:
    class Quick(EventEnum):
        auto_register = True
        GO = "go"
        STOP = "stop"

    assert [event.name for event in Quick] == ["GO", "STOP"]
    assert Quick.auto_register is True
    assert Ours.auto_register is False

    engine: Engine[Any, Any] = Engine(lambda engine, batch: engine.fire_event(Quick.GO))
    called = []
    engine.add_event_handler(Quick.GO, lambda: called.append("go"))
    engine.run([1])

    assert called == ["go"]
    assert engine.has_registered_events(Quick.STOP)


def test_without_auto_register_attaching_to_an_unknown_event_is_refused() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)

    with pytest.raises(ArgumentError, match="HALFWAY"):
        engine.add_event_handler(Ours.HALFWAY, print)


def test_an_event_is_shown_as_it_is_written() -> None:
    assert "Events.STARTED" == repr(Events.STARTED) == str(Events.STARTED)
