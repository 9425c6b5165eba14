"""Real processes, with gloo, that stop, fail and wait together."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "ranks_together.py"


@pytest.fixture(scope="module")
def facts(warm_python):
    ended = warm_python.run_ranks(2, PROGRAM, "facts")
    assert [0, 0] == [each.returncode for each in ended], [each.stderr[-2000:] for each in ended]
    return [json.loads(each.stdout) for each in ended]


@pytest.fixture(scope="module")
def fail(warm_python):
    """Return how both ranks end in a scenario in which rank 1 does something alone."""
    return lambda scenario: warm_python.run_ranks(2, PROGRAM, scenario)


def last_line(ended):
    lines = [line for line in ended.stderr.splitlines() if "Error: " in line or " ends, at " in line]
    return lines[-1] if lines else ended.stderr


def test_each_process_knows_its_place(facts):
    assert [[0, 2, 0, "cpu"], [1, 2, 1, "cpu"]] == [each["rank"] for each in facts]
    assert all(each["is_used"] for each in facts)


def test_the_process_group_is_that_of_torch(facts):
    assert [3.0, 3.0] == [each["sum"] for each in facts]


def test_what_is_exchanged_arrives_by_rank_in_every_process(facts):
    expected = [[0, [1.5] * 3], [1, [1.5] * 4]]
    assert [expected, expected] == [each["exchanged"] for each in facts]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("terminate", [6, 1, "COMPLETED", []]),
        ("terminate on rank 0", [6, 1, "COMPLETED", []]),
        ("terminate, every 4", [12, 1, "COMPLETED", []]),
        ("terminate at the end of an epoch", [20, 1, "COMPLETED", []]),
        ("terminate_epoch", [26, 2, "COMPLETED", []]),
        ("interrupt", [6, 1, "INTERRUPT", []]),
        ("request", [20, 1, "COMPLETED", [6]]),
        ("terminate at the very end", [20, 1, "COMPLETED", []]),
        ("max_iters", [7, 1, "COMPLETED", []]),
        ("after it", [3, 1, "COMPLETED", [0]]),
    ],
)
def test_what_one_process_asks_for_all_do_at_the_same_iteration(facts, case, expected):
    assert [expected, expected] == [each[case] for each in facts]


def test_four_processes_take_over_a_group_that_is_there_and_leave_it(warm_python):
    ended = warm_python.run_ranks(4, PROGRAM, "adopted")
    assert [0] * 4 == [each.returncode for each in ended], [each.stderr[-2000:] for each in ended]
    found = [json.loads(each.stdout) for each in ended]

    assert [[6, 1, "COMPLETED", []]] * 4 == [each["terminate"] for each in found]
    assert [True] * 4 == [each["is left"] for each in found]
    assert [1] * 4 == [each["ranks"] for each in found]
    assert all(each["ended"].startswith("the processes have parted") for each in found)
    assert [3] * 4 == [each["fork"] for each in found]


def test_a_failure_of_an_earlier_start_over_the_same_group_is_forgotten(fail):
    ended = fail("started again")

    assert [0, 0] == [each.returncode for each in ended], [each.stderr[-2000:] for each in ended]
    assert all("was last heard of" in json.loads(each.stdout) for each in ended)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the system does not tell")
def test_no_thread_of_the_group_is_left_after_the_end_and_an_engine_runs_no_more(warm_python):
    for each in warm_python.run_ranks(2, PROGRAM, "parted"):
        assert each.returncode == 0, each.stderr[-2000:]
        had_threads, left, text = json.loads(each.stdout)
        assert (True, 0) == (had_threads, left)
        assert text.startswith("the processes have parted: the vote after STARTED")


def test_a_process_of_multiprocessing_waits_at_its_end_for_one_that_is_still_at_work(warm_python, tmp_path):
    ended = warm_python.run(PROGRAM, "children", tmp_path)

    assert ended.returncode == 0, ended.stderr[-2000:]
    assert [True, [0, 0]] == json.loads(ended.stdout), ended.stderr[-2000:]  # longer than the control timeout


def test_an_exception_on_one_rank_ends_the_other_with_its_reason(fail):
    other, failed = fail("raise")

    assert failed.returncode == 1
    assert "ZeroDivisionError" in last_line(failed)
    assert other.returncode == 1
    assert "RankLostError: rank 1 has failed: ZeroDivisionError: division by zero" in last_line(other)


def test_an_exception_that_a_handler_wants_to_end_cleanly_is_a_failure_too(fail):
    other, failed = fail("swallow")

    assert "ZeroDivisionError" in last_line(failed)
    assert "RankLostError: rank 1 has failed: ZeroDivisionError: division by zero" in last_line(other)


def test_an_exit_with_an_error_is_a_failure_too(fail):
    other, _ = fail("exit")

    assert "RankLostError: rank 1 has failed: SystemExit: told to go" in last_line(other)


def test_an_exit_without_an_error_in_the_middle_of_a_run_is_a_failure_too(fail):
    other, left = fail("exit well")

    assert left.returncode == 0
    assert other.returncode == 1
    assert "RankLostError: rank 1 has failed: SystemExit: 0" in last_line(other)


@pytest.mark.parametrize(
    ("scenario", "text"),
    [("say nothing", "Mute: its text cannot be had: LookupError"), ("say much", "ValueError: much much")],
)
def test_the_others_are_told_of_an_error_whatever_its_text_is(fail, scenario, text):
    other, _ = fail(scenario)

    assert other.returncode == 1
    assert f"RankLostError: rank 1 has failed: {text}" in last_line(other)


@pytest.mark.parametrize(
    ("scenario", "place", "reason"),
    [
        ("caught before a sum", "the vote after ITERATION_COMPLETED", "ZeroDivisionError: division by zero"),
        ("caught before a vote", "the vote after ITERATION_COMPLETED", "SystemExit: "),
        ("caught before the run", "the vote after STARTED", "ArgumentError: `data` must"),
    ],
)
def test_an_exception_that_leaves_one_run_alone_ends_the_others_also_if_the_program_catches_it(
    fail, scenario, place, reason
):
    other, alone = fail(scenario)

    assert [1, 1] == [other.returncode, alone.returncode]
    assert f"rank 0 ends, at {place}" in last_line(other)
    assert f"rank 1 has failed: {reason}" in last_line(other)
    assert f"RankLostError: rank 1 has failed: {reason}" in last_line(alone)


def test_an_exception_that_leaves_the_run_in_all_processes_and_is_caught_ends_none(fail):
    ended = fail("caught in all")

    assert [0, 0] == [each.returncode for each in ended], [each.stderr[-2000:] for each in ended]
    assert ["20", "20"] == [each.stdout for each in ended]


def test_a_killed_process_ends_the_other_which_names_it(fail):
    other, killed = fail("kill")

    assert (-signal.SIGKILL, 1) == (killed.returncode, other.returncode)
    assert "RankLostError: rank 1 was killed, or has ended without a word (last heard of at" in last_line(other)


@pytest.mark.parametrize(
    ("scenario", "text"),
    [
        ("raise before a sum", "rank 1 has failed: ZeroDivisionError: division by zero"),
        ("kill before a sum", "rank 1 was killed, or has ended without a word"),
    ],
)
def test_a_process_in_an_operation_of_torch_ends_with_the_reason_too(fail, scenario, text):
    other, _ = fail(scenario)

    assert other.returncode == 1
    assert f"RankLostError: {text}" in last_line(other)
    assert "and was in an operation of torch" in last_line(other)
    assert "gloo/transport" in other.stderr  # its cause
    assert other.stdout == "RankLostError"


def test_a_process_that_is_killed_while_all_start_ends_the_others(fail):
    other, killed = fail("kill at the start")

    assert (-signal.SIGKILL, 1) == (killed.returncode, other.returncode)
    assert "rank 0 ends, at the start: rank 1 was killed" in last_line(other)


def test_a_process_that_does_not_come_is_named_with_its_last_sign_of_life(fail):
    other, _ = fail("slow")

    assert other.returncode == 1
    assert "RankMissingError: not all processes have come to the vote after ITERATION_COMPLETED" in last_line(other)
    assert "within 2 s: rank 1 was last heard of" in last_line(other)


@pytest.mark.parametrize("scenario", ["apart", "uneven"])
def test_processes_at_different_places_all_raise_and_say_where_each_is(fail, scenario):
    ended = fail(scenario)

    for each in ended:
        assert each.returncode == 1
        assert "RanksApartError: the processes must reach every save, vote and exchange" in last_line(each)
        assert "rank 0 is at the vote after ITERATION_COMPLETED" in last_line(each)


def test_a_process_that_goes_on_when_the_epoch_of_another_has_ended_does_not_wait_for_it_for_long(fail):
    more, fewer = fail("fewer batches")
    text = "the epoch of rank 1 has ended after iteration 3, and rank 0 is in iteration 4 of it; give all processes"

    assert [1, 1] == [more.returncode, fewer.returncode]
    assert f"rank 0 ends, at the vote after ITERATION_COMPLETED at epoch 1, iteration 3: {text}" in last_line(more)
    assert f"RankLostError: {text}" in last_line(fewer)


def test_requests_that_one_process_alone_has_are_named(fail):
    for each in fail("request of one"):
        assert each.returncode == 1
        assert "rank 1 is at the vote after STARTED at epoch 0, iteration 0, with the requests 'save'" in last_line(
            each
        )


@pytest.mark.parametrize(
    ("scenario", "text"), [("hang", "rank 1 has failed: ZeroDivisionError"), ("hang of one alone", "rank 1 was killed")]
)
def test_a_process_that_hangs_ends_once_another_has_failed_or_was_killed(fail, scenario, text):
    other, _ = fail(scenario)

    assert other.returncode == 1
    assert "rank 0 ends, at the vote after ITERATION_COMPLETED" in last_line(other)
    assert text in last_line(other)
