from __future__ import annotations

from typing import Any

import pytest

from camshaft.engine import ArgumentError, Position, State
from camshaft.engine._plan import Request, RunPlan, Standing, make_plan

INSIDE = Position(
    epoch=2, epoch_iteration=1, iteration=4, data_pass=1, batch=1, pass_open=True, stage="GET_BATCH_STARTED"
)


def request(data: Any = None, **arguments: Any) -> Request:
    names = ("max_epochs", "epoch_length", "seed", "max_iters")
    return Request.checked(data, *(arguments.get(name) for name in names))


def state(data: Any = "abc", **fields: Any) -> State[Any, Any]:
    return State(dataloader=data, epoch_length=3, max_epochs=3, epoch=2, iteration=4, **fields)


def test_a_new_run_has_one_epoch_as_long_as_its_data() -> None:
    plan = make_plan(request("abc"), State(), Standing())

    assert plan == RunPlan("abc", 1, None, 3, None, resumed=False, position=Position())


def test_a_plan_is_replaced_and_never_changed() -> None:
    plan = make_plan(request("abc"), State(), Standing())

    assert plan.replace(seed=3).seed == 3
    assert plan.seed is None
    with pytest.raises(AttributeError):
        plan.seed = 3  # type: ignore[misc]  # what is tried is what is refused


def test_a_run_with_work_left_is_continued_with_what_is_given_taken_over() -> None:
    plan = make_plan(request(max_epochs=5, seed=9), state(), Standing(INSIDE))

    assert plan == RunPlan("abc", 5, None, 3, 9, resumed=True, position=INSIDE)


def test_other_data_starts_at_its_beginning() -> None:
    plan = make_plan(request("xyz"), state(), Standing(INSIDE))

    assert plan.position == INSIDE._replace(data_pass=2, batch=0, pass_open=False)


def test_a_loaded_state_stands_where_it_says_in_whatever_data() -> None:
    loaded = Standing(INSIDE, is_loaded=True)

    assert make_plan(request("xyz"), state(None), loaded).position == INSIDE
    implied = make_plan(request("abcdefg"), state(None), loaded._replace(is_implied=True)).position
    assert (implied.data_pass, implied.batch) == (0, 4)


@pytest.mark.parametrize(
    ("standing", "resumed"),
    [
        (Standing(), False),
        (Standing(INSIDE), True),
        (Standing(INSIDE, is_spent=True), False),
        (Standing(INSIDE, is_spent=True, is_suspended=True), True),
        (Standing(INSIDE, is_spent=True, is_loaded=True), True),
        (Standing(INSIDE._replace(epoch=3, stage="EPOCH_STARTED", over=True)), False),
        (Standing(INSIDE._replace(epoch=3, stage="EPOCH_STARTED", over=True), is_loaded=True), True),
        (Standing(INSIDE._replace(epoch=3, stage="EPOCH_STARTED")), True),
    ],
)
def test_a_run_is_continued_while_something_is_left(standing: Standing, resumed: bool) -> None:
    assert make_plan(request("abc"), state(), standing).resumed is resumed


def test_limits_set_to_none_force_a_new_run() -> None:
    standing = Standing(INSIDE, is_loaded=True)
    new = State(dataloader="abc", epoch_length=3)

    assert not make_plan(request("abc"), new, standing).resumed


def test_a_limit_below_the_position_is_refused_with_the_way_to_restart() -> None:
    with pytest.raises(
        ArgumentError, match=r"`max_epochs` must be .*\(2\), got 1; set `engine.state.max_epochs = None`"
    ):
        make_plan(request("abc", max_epochs=1), state(), Standing(INSIDE))


def test_a_known_length_is_used_for_the_same_data_only() -> None:
    data = iter("abc")
    standing = Standing(known_length=3)
    known = State(dataloader=data)

    assert make_plan(request(data), known, standing).epoch_length == 3
    assert make_plan(request(iter("ab")), known, standing).epoch_length is None
