from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camshaft.engine import ArgumentError
from camshaft.engine._event_schedule import Once, Periodic, make_schedule

small = st.integers(0, 12)


def due_by_hand(every: int | None, before: int | None, after: int | None, value: int) -> bool:
    if before is not None and value >= before:
        return False
    if after is not None:
        return value > after and (value - after - 1) % (every or 1) == 0
    if before is not None and every is not None:
        return value >= 1 and (value - 1) % every == 0
    return value % (every or 1) == 0


@given(st.one_of(st.none(), st.integers(1, 7)), st.one_of(st.none(), small), st.one_of(st.none(), small))
def test_a_periodic_schedule_is_due_exactly_where_the_rule_says(
    every: int | None, before: int | None, after: int | None
) -> None:
    schedule = make_schedule(every=every, before=before, after=after)

    assert [due_by_hand(every, before, after, value) for value in range(40)] == [
        schedule(None, value) for value in range(40)
    ]


schedules = st.one_of(
    st.builds(
        make_schedule,
        every=st.integers(1, 7),
        before=st.one_of(st.none(), small),
        after=st.one_of(st.none(), small),
    ),
    st.builds(lambda values: make_schedule(once=values), st.lists(st.integers(1, 12), min_size=1)),
)


@given(schedules, small)
def test_next_due_is_the_smallest_value_that_is_due(schedule: Any, value: int) -> None:
    by_hand = next((each for each in range(value, 100) if schedule(None, each)), None)

    assert by_hand == schedule.next_due(value)


def test_every_inside_a_window_counts_from_its_first_value() -> None:
    assert Periodic(1, 3, 10) == make_schedule(every=3, before=10)
    assert [1, 4, 7] == [value for value in range(20) if make_schedule(every=3, before=10)(None, value)]
    assert [6, 8] == [value for value in range(20) if make_schedule(every=2, after=5, before=10)(None, value)]


def test_once_takes_one_value_or_several_in_any_order() -> None:
    assert Once((3,)) == make_schedule(once=3)
    assert Once((2, 5)) == make_schedule(once=[5, 2, 5])
    assert Once((2, 5)) == make_schedule(once=range(2, 6, 3))


def test_equal_schedules_are_equal_and_hash_equally() -> None:
    assert hash(make_schedule(every=5)) == hash(make_schedule(every=5))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"every": 0}, "every"),
        ({"every": -2}, "every"),
        ({"every": 1.5}, "every"),
        ({"every": "2"}, "every"),
        ({"every": True}, "every"),
        ({"once": 0}, "once"),
        ({"once": [1, -1]}, "once"),
        ({"once": []}, "once"),
        ({"once": 2.0}, "once"),
        ({"once": "ab"}, "once"),
        ({"before": -1}, "before"),
        ({"after": -1}, "after"),
        ({"after": None, "before": 2.5}, "before"),
        ({"once": 1, "every": 2}, "once"),
        ({"once": 1, "before": 2}, "once"),
    ],
)
def test_a_filter_argument_out_of_its_range_is_refused_by_name(arguments: dict[str, Any], name: str) -> None:
    with pytest.raises(ArgumentError, match=f"`{name}`"):
        make_schedule(**arguments)
