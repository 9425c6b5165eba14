from __future__ import annotations

from typing import Any

import pytest

from camshaft.engine import ArgumentError, Position, State
from camshaft.engine._data import make_source
from camshaft.engine._fetcher import END, Fetcher
from camshaft.engine._last_run import FoundLength, LastRun, Suspended
from camshaft.engine._run_plan import RunArguments, RunPlan, make_plan, moved_position
from camshaft.engine._stopwatch import Stopwatch

INSIDE = Position(
    epoch=2, epoch_iteration=1, iteration=4, data_pass=1, batch=1, pass_open=True, stage="GET_BATCH_STARTED"
)


FINISHED = Position(
    epoch=3, epoch_iteration=3, iteration=9, data_pass=2, batch=3, pass_open=True, stage="EPOCH_STARTED", over=True
)
SUSPENDED = Suspended(Fetcher("abc", make_source("abc")), END, Stopwatch(), Stopwatch())


def given(data: Any = None, **arguments: Any) -> RunArguments:
    names = ("max_epochs", "epoch_length", "seed", "max_iters")
    return RunArguments.checked(data, *(arguments.get(name) for name in names))


def state(data: Any = "abc", **fields: Any) -> State[Any, Any]:
    return State(dataloader=data, epoch_length=3, max_epochs=3, epoch=2, iteration=4, **fields)


def test_a_new_run_has_one_epoch_as_long_as_its_data() -> None:
    plan = make_plan(given("abc"), State(), LastRun())

    assert plan == RunPlan("abc", 1, None, 3, None, resumed=False, position=Position())


def test_a_plan_is_replaced_and_never_changed() -> None:
    plan = make_plan(given("abc"), State(), LastRun())

    assert plan.replace(seed=3).seed == 3
    assert plan.seed is None
    with pytest.raises(AttributeError):
        plan.seed = 3  # type: ignore[misc]  # what is tried is what is refused


def test_a_run_with_work_left_is_continued_with_what_is_given_taken_over() -> None:
    plan = make_plan(given(max_epochs=5, seed=9), state(), LastRun(INSIDE))

    assert plan == RunPlan("abc", 5, None, 3, 9, resumed=True, position=INSIDE)


def test_other_data_starts_at_its_beginning() -> None:
    plan = make_plan(given("xyz"), state(), LastRun(INSIDE))

    assert plan.position == INSIDE._replace(data_pass=2, batch=0, pass_open=False)


def test_a_loaded_state_stands_where_it_says_in_whatever_data() -> None:
    loaded = LastRun(INSIDE, is_loaded=True)

    assert make_plan(given("xyz"), state(None), loaded).position == INSIDE
    implied = make_plan(given("abcdefg"), state(None), loaded._replace(is_implied=True)).position
    assert (implied.data_pass, implied.batch) == (0, 4)


@pytest.mark.parametrize(
    ("last", "resumed"),
    [
        (LastRun(INSIDE), True),
        (LastRun(INSIDE, was_terminated=True), True),
        (LastRun(INSIDE, is_exact=False), True),
        (LastRun(INSIDE, suspended=SUSPENDED), True),
        (LastRun(FINISHED), False),
        (LastRun(FINISHED, is_loaded=True), True),
        (LastRun(FINISHED._replace(over=False)), True),
    ],
)
def test_a_run_is_continued_while_something_is_left(last: LastRun, resumed: bool) -> None:
    stands = State(dataloader="abc", epoch_length=3, max_epochs=3)
    if last.position is not None:
        stands.epoch, stands.iteration = last.position.epoch, last.position.iteration

    assert make_plan(given("abc"), stands, last).resumed is resumed


def test_limits_set_to_none_force_a_new_run() -> None:
    last = LastRun(INSIDE, is_loaded=True)
    new = State(dataloader="abc", epoch_length=3)

    assert not make_plan(given("abc"), new, last).resumed


def test_a_limit_below_the_position_is_refused_with_the_way_to_restart() -> None:
    with pytest.raises(
        ArgumentError, match=r"`max_epochs` must be .*\(2\), got 1; set `engine.state.max_epochs = None`"
    ):
        make_plan(given("abc", max_epochs=1), state(), LastRun(INSIDE))


def test_a_known_length_is_used_for_the_same_data_only() -> None:
    data = iter("abc")
    last = LastRun(found_length=FoundLength(data, 3))
    known = State(dataloader=data)

    assert make_plan(given(data), known, last).epoch_length == 3
    assert make_plan(given(iter("ab")), known, last).epoch_length is None


@pytest.mark.parametrize("ended_early", [{"was_terminated": True}, {"is_exact": False}])
@pytest.mark.parametrize("comes_back", [{"is_loaded": True}, {"suspended": SUSPENDED}])
def test_one_epoch_that_was_ended_early_is_not_continued_unless_it_was_suspended_or_loaded(
    ended_early: dict[str, Any], comes_back: dict[str, Any]
) -> None:
    position = Position(epoch=1, epoch_iteration=1, iteration=1, batch=1, pass_open=True, stage="GET_BATCH_STARTED")
    stands = State(dataloader="abc", epoch_length=3, max_epochs=1, epoch=1, iteration=1)

    assert not make_plan(given("abc"), stands, LastRun(position, **ended_early)).resumed
    assert make_plan(given("abc"), stands, LastRun(position, **ended_early, **comes_back)).resumed


# ---------------------------------------------------------------------- counters that a user has set

PLAN = RunPlan("abc", 5, None, 3, None, resumed=False, position=Position())


@pytest.mark.parametrize(
    ("epoch", "iteration", "expected"),
    [
        (2, 0, (2, 6, "EPOCH_STARTED")),
        (0, 6, (2, 6, "EPOCH_STARTED")),
        (2, 6, (2, 6, "EPOCH_STARTED")),
        (0, 7, (3, 7, "GET_BATCH_STARTED")),
        (2, 7, (3, 7, "GET_BATCH_STARTED")),
        (3, 7, (3, 7, "GET_BATCH_STARTED")),
        (5, 15, (5, 15, "EPOCH_STARTED")),
    ],
)
def test_counters_move_a_run_to_where_they_stand(epoch: int, iteration: int, expected: tuple[int, int, str]) -> None:
    position = moved_position(State(epoch=epoch, iteration=iteration), Position(), PLAN)

    assert (position.epoch, position.iteration, position.stage) == expected


@pytest.mark.parametrize(
    ("epoch", "iteration", "text"),
    [
        (1, 7, r"`state.epoch` must fit to `state.iteration` \(7\) in epochs of 3 iterations, got 1"),
        (6, 0, r"must not exceed max_epochs \(5\), got epoch 6"),
        (0, 16, r"must not exceed max_epochs \(5\)"),
        (-1, 0, "`state.epoch` must be an integer of at least 0, got -1"),
        (0, 2.5, "`state.iteration` must be an integer of at least 0, got 2.5"),
        (True, 0, "`state.epoch` must be an integer"),
    ],
)
def test_counters_that_contradict_each_other_or_a_limit_are_refused(epoch: Any, iteration: Any, text: str) -> None:
    with pytest.raises(ArgumentError, match=text):
        moved_position(State(epoch=epoch, iteration=iteration), Position(), PLAN)


def test_counters_without_an_epoch_length_say_nothing_about_a_place() -> None:
    with pytest.raises(ArgumentError, match="`epoch_length` must be given when `state.epoch`"):
        moved_position(State(epoch=2), Position(), PLAN.replace(epoch_length=None))
