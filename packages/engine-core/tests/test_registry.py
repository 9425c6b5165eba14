from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from camshaft.engine import Engine, Events
from camshaft.engine._registry import NEVER, Agenda, Attachment
from camshaft.engine._schedule import Once, Periodic, Schedule

schedules: st.SearchStrategy[Schedule | None] = st.one_of(
    st.none(),
    st.builds(Periodic, st.integers(0, 9), st.integers(1, 6), st.one_of(st.none(), st.integers(0, 15))),
    st.builds(lambda values: Once(tuple(sorted(values))), st.sets(st.integers(1, 20), min_size=1)),
)


def attach(given: list[Schedule | None], called: list[int]) -> list[Attachment]:
    return [
        Attachment(
            place,
            Events.ITERATION_STARTED,
            print,
            lambda engine, place=place: called.append(place),
            schedule,
            "iteration",
        )
        for place, schedule in enumerate(given)
    ]


@given(st.lists(schedules, max_size=6), st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_an_agenda_calls_what_is_due_at_each_value_in_order(given: list[Schedule | None], steps: list[int]) -> None:
    called: list[int] = []
    agenda = Agenda()
    agenda.arrange(attach(given, called))
    value = 0
    for step in steps:
        value += step + 1  # counters move on by any amount
        del called[:]
        call = agenda.ready if value < agenda.next_due else agenda.at(value)
        if call is not None:
            call(None)

        assert called == [place for place, each in enumerate(given) if each is None or each(None, value)]


@given(st.lists(schedules, max_size=6), st.integers(0, 20))
def test_nothing_scheduled_is_due_before_next_due(given: list[Schedule | None], value: int) -> None:
    agenda = Agenda()
    agenda.arrange(attach(given, []))
    agenda.at(value)

    due = [each.next_due(value + 1) for each in given if each is not None]
    assert agenda.next_due == min([each for each in due if each is not None], default=NEVER)


@given(st.lists(schedules, min_size=1, max_size=6), st.integers(1, 20), st.integers(1, 20))
def test_a_rewound_agenda_begins_anywhere(given: list[Schedule | None], first: int, second: int) -> None:
    called: list[int] = []
    agenda = Agenda()
    agenda.arrange(attach(given, called))
    agenda.at(first)
    agenda.rewind()
    call = agenda.at(second)
    if call is not None:
        call(None)

    assert called == [place for place, each in enumerate(given) if each is None or each(None, second)]


def test_an_empty_agenda_has_nothing_to_call() -> None:
    agenda = Agenda()

    assert (agenda.ready, agenda.next_due, agenda.at(3)) == (None, NEVER, None)


def test_a_handler_with_a_filter_of_its_own_is_asked_in_its_turn() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    calls: list[str] = []
    engine.add_event_handler(Events.ITERATION_STARTED, lambda: calls.append("first"))

    def ask(engine: Engine[Any, Any], value: int) -> bool:
        calls.append("asked")
        return False

    engine.add_event_handler(Events.ITERATION_STARTED(event_filter=ask), lambda: calls.append("never"))
    engine.add_event_handler(Events.ITERATION_STARTED, lambda: calls.append("last"))
    engine.run([1])

    assert calls == ["first", "asked", "last"]
