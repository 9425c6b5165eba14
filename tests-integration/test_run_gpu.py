"""What the table of a run on a GPU calls missed: without a GPU, from what the parts print and leave."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import run_gpu
from run_gpu import Row

RESUMES = """
1 of 3, 6.6 s: shuffled, 80 exact, 0 refused, 0 wrong
2 of 3, 9.0 s: saving stream, 0 exact, 3 refused, 0 wrong
"""


def missed(rows: list[Row]) -> list[str]:
    return [row.name for row in rows if row.is_missed]


def figure(**options: object) -> str:
    return json.dumps(
        {"name": "this / by hand", "value": 1.01, "unit": "x", "at_most": 1.02, "at_least": None} | options
    )


@pytest.mark.parametrize("is_missed", [False, True])
def test_a_figure_is_missed_where_the_benchmark_says_so(is_missed: bool, tmp_path: Path) -> None:
    (tmp_path / "figures.jsonl").write_text(figure(is_missed=is_missed))
    (row,) = run_gpu.rows_of_figures("supervised", "", tmp_path)
    assert row == Row("supervised", "this / by hand", 1.01, "x", "<= 1.02", is_missed)


def test_a_benchmark_without_figures_has_missed(tmp_path: Path) -> None:
    assert missed(list(run_gpu.rows_of_figures("supervised", "nothing was measured", tmp_path))) == ["figures"]


def test_resumes_are_counted_case_by_case(tmp_path: Path) -> None:
    rows = list(run_gpu.rows_of_resumes("exact", RESUMES, tmp_path, least=80))
    assert [row.value for row in rows] == [80, 3, 0]
    assert missed(rows) == []


def test_too_few_resumes_are_missed(tmp_path: Path) -> None:
    assert missed(list(run_gpu.rows_of_resumes("exact", RESUMES, tmp_path))) == ["runs resumed bit for bit"]


def test_a_resume_that_went_another_way_is_missed(tmp_path: Path) -> None:
    printed = RESUMES + "3 of 3, 9.9 s: stream, 90 exact, 0 refused, 1 wrong\n"
    assert missed(list(run_gpu.rows_of_resumes("exact", printed, tmp_path))) == ["runs that went another way"]


def test_each_test_that_failed_is_named(tmp_path: Path) -> None:
    printed = """
[gw0] [ 50%] PASSED tests-integration/gpu/test_a.py::test_one[full]
[gw1] [100%] FAILED tests-integration/gpu/test_a.py::test_two[float16 with a scaler]
"""
    name = "tests-integration/gpu/test_a.py::test_two[float16 with a scaler]"
    assert missed(list(run_gpu.rows_of_tests("tests", printed, tmp_path))) == [name]


def test_a_test_that_needs_a_gpu_and_is_skipped_is_missed(tmp_path: Path) -> None:
    printed = """
[gw0] [ 50%] PASSED tests/test_a.py::test_one
[gw0] [100%] SKIPPED tests-integration/gpu/test_a.py::test_one
"""
    rows = list(run_gpu.rows_of_tests("tests", printed, tmp_path))
    assert missed(rows) == ["tests that were skipped, of those that need a GPU"]


def test_a_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        forever = [sys.executable, "-c", "import signal; signal.pause()"]
        assert run_gpu.run_with_limit(forever, 0.01, log, {}) == -9


def test_the_table_says_what_was_missed() -> None:
    rows = [
        Row("a", "fine", 1.0, "x", "<= 2"),
        Row("a", "slow", 3.0, "x", "<= 2", is_missed=True),
        Row("b", "rival", None),
    ]
    lines = run_gpu.table({"GPU": "a GPU"}, rows).splitlines()
    assert lines[-3:] == [
        "| a | fine | 1 x | <= 2 | ok |", "| a | slow | 3 x | <= 2 | MISSED |", "| b | rival | not measured | | |"
    ]  # fmt: skip
