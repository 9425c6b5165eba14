from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from camshaft.handlers.checkpoint._retention import Item, Plan, best, is_behind, plan, ranked

nan = math.nan
priorities = st.one_of(st.integers(-3, 3), st.sampled_from([nan, math.inf, -math.inf, 0.5, -0.5]))
names = st.sampled_from(["a.pt", "b.pt", "c.pt", "d.pt", "e.pt"])


def saved_after(priorities: list[float], n_saved: int | None, *, greater_or_equal: bool = False) -> list[Item]:
    saved: tuple[Item, ...] = ()
    for index, priority in enumerate(priorities):
        what = plan(saved, Item(priority, f"{index}.pt"), n_saved, greater_or_equal=greater_or_equal)
        saved = what.keep if what else saved
    return list(saved)


def test_while_there_is_room_everything_is_kept() -> None:
    assert plan([Item(3, "a.pt")], Item(1, "b.pt"), 2) == Plan((Item(1, "b.pt"), Item(3, "a.pt")), ())


def test_a_better_one_takes_the_place_of_the_worst() -> None:
    assert plan([Item(1, "a.pt"), Item(3, "b.pt")], Item(2, "c.pt"), 2) == Plan(
        (Item(2, "c.pt"), Item(3, "b.pt")), (Item(1, "a.pt"),)
    )


def test_a_worse_one_is_not_saved() -> None:
    assert plan([Item(1, "a.pt"), Item(3, "b.pt")], Item(0, "c.pt"), 2) is None


def test_a_tie_keeps_the_first() -> None:
    assert plan([Item(1, "a.pt")], Item(1, "b.pt"), 1) is None


def test_a_tie_keeps_the_later_one_if_asked_to() -> None:
    assert plan([Item(1, "a.pt")], Item(1, "b.pt"), 1, greater_or_equal=True) == Plan(
        (Item(1, "b.pt"),), (Item(1, "a.pt"),)
    )


def test_among_ties_the_first_is_the_last_to_go() -> None:
    assert [item.filename for item in saved_after([1, 1, 2], n_saved=2)] == ["0.pt", "2.pt"]


def test_among_ties_the_later_is_the_last_to_go_if_asked_to() -> None:
    assert [item.filename for item in saved_after([1, 1, 2], n_saved=2, greater_or_equal=True)] == ["1.pt", "2.pt"]


def test_nan_is_saved_while_there_is_room_and_goes_first() -> None:
    assert [item.filename for item in saved_after([nan, -math.inf, 1], n_saved=2)] == ["1.pt", "2.pt"]


def test_nan_pushes_nothing_out() -> None:
    assert plan([Item(-math.inf, "a.pt")], Item(nan, "b.pt"), 1) is None


def test_nan_does_not_block_what_comes_after_it() -> None:
    assert [item.filename for item in saved_after([nan, 0.1, nan, 0.2], n_saved=1)] == ["3.pt"]


def test_nan_is_never_the_best() -> None:
    assert best([Item(nan, "a.pt")]) is None
    assert best([]) is None
    assert best(saved_after([0.5, nan], n_saved=None)) == Item(0.5, "0.pt")


def test_the_same_name_takes_its_own_place_and_pushes_nothing_out() -> None:
    saved = [Item(1, "a.pt"), Item(2, "b.pt")]

    assert plan(saved, Item(3, "b.pt"), 2) == Plan((Item(1, "a.pt"), Item(3, "b.pt")), ())


def test_a_fixed_name_is_not_overwritten_by_a_worse_one() -> None:
    assert plan([Item(0.9, "best.pt")], Item(0.5, "best.pt"), 1) is None


def test_a_worse_one_of_the_same_name_is_not_saved_where_there_is_room_either() -> None:
    assert plan([Item(0.50003, "score=0.5000.pt")], Item(0.50001, "score=0.5000.pt"), 2) is None
    assert plan([Item(1, "best.pt")], Item(nan, "best.pt"), None) is None


def test_a_list_that_is_too_long_is_cut_to_size() -> None:
    saved = [Item(1, "a.pt"), Item(2, "b.pt"), Item(3, "c.pt")]

    assert plan(saved, Item(4, "d.pt"), 1) == Plan((Item(4, "d.pt"),), tuple(saved))
    assert plan(saved, Item(2.5, "d.pt"), 1) is None


def test_none_keeps_all() -> None:
    assert len(saved_after([3, 1, 2, nan, 2], n_saved=None)) == 5


def test_what_is_less_than_another_and_no_tie_is_behind() -> None:
    saved = [Item(5, "a.pt"), Item(9, "b.pt")]

    assert is_behind(saved, Item(4, "c.pt"))
    assert is_behind(saved, Item(7, "c.pt"))
    assert not is_behind(saved, Item(5, "c.pt"))
    assert not is_behind(saved, Item(10, "c.pt"))
    assert not is_behind([], Item(4, "c.pt"))


def test_ranked_orders_by_priority_then_by_age() -> None:
    items = [Item(2, "a.pt"), Item(nan, "b.pt"), Item(2, "c.pt"), Item(1, "d.pt")]

    assert [item.filename for item in ranked(items)] == ["b.pt", "d.pt", "c.pt", "a.pt"]
    assert [item.filename for item in ranked(items, greater_or_equal=True)] == ["b.pt", "d.pt", "a.pt", "c.pt"]


@given(
    st.lists(st.tuples(priorities, names), min_size=1, max_size=12),
    st.one_of(st.none(), st.integers(1, 4)),
    st.booleans(),
)
def test_any_sequence_of_saves_keeps_the_best_within_the_limit(
    saves: list[tuple[float, str]], n_saved: int | None, greater_or_equal: bool
) -> None:
    saved: tuple[Item, ...] = ()
    on_disk: set[str] = set()
    for priority, name in saves:
        new = Item(priority, name)
        what = plan(saved, new, n_saved, greater_or_equal=greater_or_equal)
        if what is None:
            assert len(saved) == n_saved or name in on_disk
            continue
        assert new in what.keep
        assert new not in what.drop
        assert set(what.drop) <= set(saved)
        on_disk = (on_disk | {name}) - {item.filename for item in what.drop}
        saved = what.keep
        assert on_disk == {item.filename for item in saved}
        assert n_saved is None or len(saved) <= n_saved
        real = [item.priority for item in saved if not math.isnan(item.priority)]
        assert real == sorted(real)
        assert all(math.isnan(item.priority) for item in saved[: len(saved) - len(real)])


@given(st.lists(priorities, min_size=1, max_size=12), st.integers(1, 4))
def test_what_is_left_are_the_highest_of_all(values: list[float], n_saved: int) -> None:
    def rank(value: float) -> tuple[bool, float]:
        return (False, 0.0) if math.isnan(value) else (True, value)

    kept = sorted(rank(item.priority) for item in saved_after(values, n_saved))

    assert sorted(map(rank, values))[-n_saved:] == kept
