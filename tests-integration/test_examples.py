"""The short examples run as they stand and print what they are about."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from warm_python import WarmPython

EXAMPLES = Path(__file__).parent.parent / "examples"

LAST_LINES = {
    "01_loop.py": "10 iterations in 2 epochs, last output 16",
    "02_events.py": "settled after 9 numbers: mean 4.778",
    "03_state.py": "epoch 2 completed",
}


def lines_of(python: WarmPython, name: str) -> list[str]:
    ran = python.run("-W", "error", EXAMPLES / name)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def numbers_in(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", line)]


@pytest.mark.parametrize("name", LAST_LINES)
def test_example_ends_with_its_result(name: str, warm_python: WarmPython) -> None:
    assert lines_of(warm_python, name)[-1] == LAST_LINES[name]


def test_loop_continued_in_another_process_does_each_iteration_once(warm_python: WarmPython) -> None:
    numbers = [line.split()[0] for line in lines_of(warm_python, "03_state.py") if line[0].isdigit()]
    assert numbers == [str(number) for number in range(1, 9)]


# Runs an example; SIGKILL ends it as soon as it has printed a line that starts with some words.
KILLED_AFTER = """
import builtins, os, runpy, signal, sys
example, folder, last_words = sys.argv[1:]
real_print = print

def print_and_die(*args, **kwargs):
    real_print(*args, **kwargs)
    if str(args[0]).startswith(last_words):
        os.kill(os.getpid(), signal.SIGKILL)

builtins.print = print_and_die
sys.argv = [example, folder]
runpy.run_path(example, run_name="__main__")
"""


def test_training_that_is_killed_and_started_again_as_it_is_ends_with_the_same_parameters(
    warm_python: WarmPython, tmp_path: Path
) -> None:
    example, killed_after = EXAMPLES / "resume.py", tmp_path / "killed_after.py"
    killed_after.write_text(KILLED_AFTER)
    straight = warm_python.run(example, tmp_path / "straight").stdout.splitlines()

    printed = []
    for last_words in ("epoch 1", "epoch 4"):
        killed = warm_python.run(killed_after, example, tmp_path / "killed", last_words)
        assert killed.returncode == -signal.SIGKILL
        printed += killed.stdout.splitlines()
    printed += warm_python.run(example, tmp_path / "killed").stdout.splitlines()

    assert re.fullmatch("[0-9a-f]{64}", straight[-1])
    assert [line for line in printed if line.startswith("resumed")] == [
        "resumed after iteration 100", "resumed after iteration 500",
    ]  # fmt: skip
    assert [line for line in printed if not line.startswith("resumed")] == [
        *straight[:1], *straight[:4], *straight[3:],
    ]  # fmt: skip


def test_generator_draws_from_every_part_of_the_mixture(warm_python: WarmPython) -> None:
    percent_near, covered, centres = numbers_in(lines_of(warm_python, "gan.py")[-1])

    assert percent_near >= 75
    assert covered == centres == 6


def test_character_model_beats_counting_and_gets_better(warm_python: WarmPython) -> None:
    *epochs, counting = lines_of(warm_python, "char_lm.py")
    bits = [numbers_in(line)[1] for line in epochs]

    assert numbers_in(counting)[0] == pytest.approx(4.67, abs=0.3)  # the text is that of the interpreter's version
    assert bits == sorted(bits, reverse=True)
    assert bits[-1] < 0.7 * numbers_in(counting)[0]
