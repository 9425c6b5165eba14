"""The short examples run as they stand and print what they are about."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

LAST_LINES = {
    "01_loop.py": "10 iterations in 2 epochs, last output 16",
    "02_events.py": "settled after 9 numbers: mean 4.778",
    "resume.py": "epoch 2 completed",
}


def lines_of(name: str) -> list[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def numbers_in(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", line)]


@pytest.mark.parametrize("name", LAST_LINES)
def test_example_ends_with_its_result(name: str) -> None:
    assert lines_of(name)[-1] == LAST_LINES[name]


def test_resumed_example_does_each_iteration_once() -> None:
    numbers = [line.split()[0] for line in lines_of("resume.py") if line[0].isdigit()]
    assert numbers == [str(number) for number in range(1, 9)]


def test_generator_draws_from_every_part_of_the_mixture() -> None:
    percent_near, covered, centres = numbers_in(lines_of("gan.py")[-1])

    assert percent_near >= 75
    assert covered == centres == 6


def test_character_model_beats_counting_and_gets_better() -> None:
    *epochs, counting = lines_of("char_lm.py")
    bits = [numbers_in(line)[1] for line in epochs]

    assert numbers_in(counting)[0] == pytest.approx(4.67, abs=0.3)  # the text is that of the interpreter's version
    assert bits == sorted(bits, reverse=True)
    assert bits[-1] < 0.7 * numbers_in(counting)[0]
