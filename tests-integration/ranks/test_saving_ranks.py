"""Two real processes save and restore together: one decides, and all do the same or all raise."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from warm_python import WarmPython

PROGRAM = Path(__file__).with_name("saving_ranks.py")
Found = list[dict[str, Any]]
Ended = list[CompletedProcess[str]]


@pytest.fixture(scope="module")
def ended(warm_python: WarmPython, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Run both processes to their end."""
    return warm_python.run_ranks(2, PROGRAM, tmp_path_factory.mktemp("ranks"))


@pytest.fixture(scope="module")
def found(ended: Ended) -> Found:
    """Return what each of two processes has seen in each case."""
    assert [0, 0] == [each.returncode for each in ended], [each.stderr[-3000:] for each in ended]
    return [json.loads(each.stdout) for each in ended]


def test_the_saving_process_decides_what_is_the_best(found: Found) -> None:
    kept, last, events = found[0]["best"]

    assert found[1]["best"] == found[0]["best"]
    assert [[4, "number_4.pt"], [5, "number_5.pt"]] == kept
    assert last.endswith("number_5.pt")
    assert [1, 2, 3] == events


def test_a_write_that_fails_raises_in_all_processes_and_names_the_one(found: Found) -> None:
    (first, failed, third), kept, written = found[0]["write"]
    (_, told, other_third), other_kept, other_written = found[1]["write"]

    assert ("done", "done", "done") == (first, third, other_third)
    assert "No space left on device" in failed
    assert told.startswith("CheckpointWriteError: ")
    assert "rank 0: [Errno 28] No space left on device (OSError)" in told
    assert ["number_1.pt", "number_3.pt"] == kept == other_kept == written
    assert [] == other_written


def test_gathering_that_fails_in_one_process_raises_in_all(found: Found) -> None:
    assert "rank 1: there is nothing to gather (ValueError)" in found[0]["gather"]
    assert "there is nothing to gather" in found[1]["gather"]


@pytest.mark.parametrize(
    ("case", "reason"),
    [("hidden", "FileNotFoundError"), ("damaged", "CheckpointDamagedError"), ("other", "another file of this name")],
)
def test_a_file_that_one_process_cannot_use_is_passed_over_by_all(found: Found, case: str, reason: str) -> None:
    for value, text, skipped in (each[case] for each in found):
        assert (2, "done") == (value, text)
        assert ["number_3.pt"] == [name for name, _ in skipped]
        assert reason in skipped[0][1]
    assert "rank 1: " in found[0][case][2][0][1]


@pytest.mark.parametrize(("case", "kept"), [("none", 0), ("refused", 7)])
def test_where_nothing_can_be_loaded_by_all_nobody_loads_anything(found: Found, case: str, kept: int) -> None:
    assert [kept, kept] == [each[case][0] for each in found]
    assert all(each[case][1].startswith("NoCheckpointError: ") for each in found)
    assert "rank 1: " in found[0][case][1]


def test_all_processes_restore_the_same_list(found: Found) -> None:
    assert ["number_3.pt", ["number_1.pt", "number_2.pt", "number_3.pt"], None] == found[0]["list"]
    assert found[1]["list"] == found[0]["list"]


def test_one_process_writes_what_a_person_reads(found: Found, ended: Ended) -> None:
    lines, _ = found[0]["files"]

    assert {"history.jsonl": 2, "log.jsonl": 2, "rows.csv": 5} == lines
    assert ["Epoch [2/2]" in each.stderr for each in ended] == [True, False]


def test_the_saving_process_knows_what_another_has_written(found: Found) -> None:
    assert found[1]["files"][1]


def test_what_is_saved_in_the_background_is_kept_by_all(found: Found) -> None:
    kept, events = found[0]["background"]

    assert ["number_6.pt", "number_8.pt"] == kept
    assert 4 == len(events)
    assert found[1]["background"] == found[0]["background"]
