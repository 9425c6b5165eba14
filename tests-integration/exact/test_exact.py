"""A slice of the matrix: what the packages promise together, resuming from everywhere bit for bit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from warm_python import WarmPython

MATRIX = Path(__file__).parent / "matrix.py"


def counted(printed: str) -> tuple[int, int]:
    found = re.search(r"(\d+) resumes, (\d+) mismatches", printed)
    assert found is not None, printed
    return int(found[1]), int(found[2])


@pytest.mark.parametrize("seed", range(4))
def test_runs_resumed_from_everywhere_go_on_bit_for_bit(seed: int, warm_python: WarmPython) -> None:
    slice_of_it = warm_python.run(MATRIX, "--cases", 6, "--each", 10, "--kills", 0, "--seed", seed, "--jobs", 1)
    assert slice_of_it.returncode == 0, slice_of_it.stdout + slice_of_it.stderr
    resumes, mismatches = counted(slice_of_it.stdout)
    assert resumes >= 50
    assert mismatches == 0


def test_a_killed_process_goes_on_bit_for_bit_in_another_one(warm_python: WarmPython) -> None:
    killed = warm_python.run(MATRIX, "--cases", 0, "--kills", 1, "--seed", 3, "--jobs", 1)
    assert killed.returncode == 0, killed.stdout + killed.stderr
    assert counted(killed.stdout) == (2, 0)


@pytest.mark.parametrize("part", ["stopping", "average"])
def test_a_part_that_was_not_saved_is_noticed(part: str, warm_python: WarmPython) -> None:
    options = ("--cases", 4, "--each", 4, "--kills", 0, "--seed", 1, "--jobs", 1)
    without = warm_python.run(MATRIX, *options, "--leave-out", part)
    assert without.returncode == 1, without.stderr
    resumes, mismatches = counted(without.stdout)
    assert 0 < mismatches <= resumes
