from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from camshaft.engine import Events
from camshaft.engine._dispatch import NEVER, DispatchTable, Listener
from camshaft.engine._event_schedule import Once, Periodic, Schedule

schedules: st.SearchStrategy[Schedule | None] = st.one_of(
    st.none(),
    st.builds(Periodic, st.integers(0, 9), st.integers(1, 6), st.one_of(st.none(), st.integers(0, 15))),
    st.builds(lambda values: Once(tuple(sorted(values))), st.sets(st.integers(1, 20), min_size=1)),
)


def make_table(given: list[Schedule | None], called: list[int]) -> DispatchTable:
    table = DispatchTable()
    listeners = [
        Listener(
            place,
            Events.ITERATION_STARTED,
            lambda engine, place=place: called.append(place),
            (),
            {},
            schedule,
            "iteration",
        )
        for place, schedule in enumerate(given)
    ]
    table.listeners = {listener.number: listener for listener in listeners}
    table.build()
    return table


@given(st.lists(schedules, max_size=6), st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_a_table_calls_what_is_due_at_each_value_in_order(given: list[Schedule | None], steps: list[int]) -> None:
    called: list[int] = []
    table = make_table(given, called)
    value = 0
    for step in steps:
        value += step + 1  # counters move on by any amount
        del called[:]
        call = table.always if value < table.next_due else table.at(value)
        if call is not None:
            call(None)

        assert called == [place for place, each in enumerate(given) if each is None or each(None, value)]


@given(st.lists(schedules, max_size=6), st.integers(0, 20))
def test_nothing_scheduled_is_due_before_next_due(given: list[Schedule | None], value: int) -> None:
    table = make_table(given, [])
    table.at(value)

    due = [each.next_due(value + 1) for each in given if each is not None]
    assert table.next_due == min([each for each in due if each is not None], default=NEVER)


@given(st.lists(schedules, min_size=1, max_size=6), st.integers(1, 20), st.integers(1, 20))
def test_a_rewound_table_begins_anywhere(given: list[Schedule | None], first: int, second: int) -> None:
    called: list[int] = []
    table = make_table(given, called)
    table.at(first)
    table.rewind()
    call = table.at(second)
    if call is not None:
        call(None)

    assert called == [place for place, each in enumerate(given) if each is None or each(None, second)]


def test_an_empty_table_has_nothing_to_call() -> None:
    table = DispatchTable()

    assert (table.always, table.next_due, table.at(3)) == (None, NEVER, None)
