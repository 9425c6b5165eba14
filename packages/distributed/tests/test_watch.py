from __future__ import annotations

import pytest
from torch.distributed import HashStore

from camshaft.distributed._board import Board
from camshaft.distributed._watch import Watch
from camshaft.engine import Engine, Events


class Three:
    """Three processes in a run, that have all come to message 3, where the second one leaves its run."""

    def __init__(self):
        store = HashStore()
        self.all = [Watch(Board(store), rank, 3, timeout_s=60.0, grace_s=0.0) for rank in range(3)]
        self.one, self.other, self.third = self.all
        for each in self.all:
            each.running = lambda: [Engine(print)]
            each.messages = each.met = 3
        self.other.leave_run("ZeroDivisionError: made up")

    def failure(self):
        """Return what the first one finds when more than no time has passed."""
        for _ in range(2):
            self.one.look_whether_left_behind()
        return self.one.failure()


def test_who_stays_in_a_run_that_another_process_has_left_tells_who_it_was_and_why():
    three = Three()

    assert three.failure() == "rank 1 has failed: ZeroDivisionError: made up (it had come to the start)"
    assert three.other.failure() == three.failure()


@pytest.mark.parametrize("messages", [2, 4])
def test_it_may_be_a_message_behind_or_ahead(messages):
    three = Three()
    three.one.messages, three.one.met = messages, min(messages, 3)

    assert three.failure()


def test_who_has_left_its_run_as_well_may_wait_for_the_other_in_the_next_one():
    three = Three()
    three.one.leave_run("ZeroDivisionError: made up")

    assert three.failure() is None


def test_who_is_in_no_run_waits_for_nobody():
    three = Three()
    three.one.running = list

    assert three.failure() is None


def test_who_has_met_the_other_again_forgets_what_it_has_left():
    three = Three()
    three.one.messages = three.one.met = 4

    assert three.failure() is None


def test_of_several_that_leave_the_first_is_named():
    three = Three()
    three.third.leave_run("KeyError: the second")

    assert "made up" in three.failure()


def test_a_later_failure_is_told_once_all_have_met_again():
    three = Three()
    for each in three.all:
        each.messages = each.met = 4
    three.other.leave_run("KeyError: the second")

    assert "KeyError" in three.failure()


def test_who_has_told_its_failure_itself_looks_for_no_other():
    three = Three()
    three.one.report_failure("OSError")

    assert three.one.failure() is None
    assert "OSError" in three.other.failure()


def test_who_goes_on_with_an_epoch_that_has_ended_in_another_process_tells_so():
    text = "the epoch of rank 1 has ended after iteration 5, and rank 0 is in iteration 6 of it; give all processes"

    assert ended(5, then=6).startswith(text)
    assert ended(5, then=6, more_messages=1).startswith(text)  # the vote at the end of the epoch


@pytest.mark.parametrize("iteration", [4, 5])
def test_who_still_comes_to_the_end_of_the_epoch_is_not_apart(iteration):
    assert ended(5, then=iteration) is None


@pytest.mark.parametrize("more_messages", [-1, 2])
def test_who_is_in_another_epoch_is_not_apart(more_messages):
    assert ended(5, then=6, more_messages=more_messages) is None


def test_who_is_inside_an_epoch_has_not_ended_it():
    assert ended(5, then=6, event=Events.ITERATION_COMPLETED) is None


def ended(after, then, more_messages=0, event=Events.EPOCH_COMPLETED):
    """Return what rank 0 finds in iteration `then` if rank 1 has come to `event` after iteration `after`."""
    store = HashStore()
    one, other = (Watch(Board(store), rank, 2, timeout_s=60.0, grace_s=0.0) for rank in range(2))
    engines = [Engine(print), Engine(print)]
    for watch, engine, iteration in zip((one, other), engines, (then, after), strict=True):
        engine.state.iteration = iteration
        watch.running = lambda engine=engine: [engine]
        watch.messages = watch.met = 3
    engines[1].last_event_name = event
    other.messages += more_messages
    other.beat()
    for _ in range(2):
        one.look_whether_left_behind()
    return one.failure()
