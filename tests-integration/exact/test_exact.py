"""A slice of the matrix: what the packages promise together, resuming from everywhere bit for bit."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

MATRIX = Path(__file__).parent / "matrix.py"


def play(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(MATRIX), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


def counted(printed: str) -> tuple[int, int]:
    found = re.search(r"(\d+) resumes, (\d+) mismatches", printed)
    assert found is not None, printed
    return int(found[1]), int(found[2])


def test_runs_resumed_from_everywhere_go_on_bit_for_bit() -> None:
    slice_of_it = play("--cases", "22", "--each", "10", "--kills", "1", "--seed", "3")
    assert slice_of_it.returncode == 0, slice_of_it.stdout + slice_of_it.stderr
    resumes, mismatches = counted(slice_of_it.stdout)
    assert resumes >= 200
    assert mismatches == 0


@pytest.mark.parametrize("part", ["stopping", "average"])
def test_a_part_that_was_not_saved_is_noticed(part: str) -> None:
    without = play("--cases", "4", "--each", "4", "--kills", "0", "--seed", "1", "--leave-out", part)
    assert without.returncode == 1, without.stderr
    resumes, mismatches = counted(without.stdout)
    assert 0 < mismatches <= resumes
