"""The short examples run as they stand and print what they are about."""

from __future__ import annotations

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


@pytest.mark.parametrize("name", LAST_LINES)
def test_example_ends_with_its_result(name: str) -> None:
    printed = subprocess.run([sys.executable, EXAMPLES / name], capture_output=True, text=True, check=True).stdout

    assert printed.splitlines()[-1] == LAST_LINES[name]


def test_resumed_example_does_each_iteration_once() -> None:
    printed = subprocess.run(
        [sys.executable, EXAMPLES / "resume.py"], capture_output=True, text=True, check=True
    ).stdout

    numbers = [line.split()[0] for line in printed.splitlines() if line[0].isdigit()]
    assert numbers == [str(number) for number in range(1, 9)]
