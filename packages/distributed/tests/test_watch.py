from __future__ import annotations

import pytest
from torch.distributed import HashStore

from camshaft.distributed._board import Board
from camshaft.distributed._watch import Watch


class Three:
    """Three processes in a run, that have all come to message 3, where the second one leaves its run."""

    def __init__(self):
        store = HashStore()
        self.all = [Watch(Board(store), rank, 3, timeout_s=60.0, grace_s=0.0) for rank in range(3)]
        self.one, self.other, self.third = self.all
        for each in self.all:
            each.is_in_run = lambda: True
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
    three.one.is_in_run = lambda: False

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
