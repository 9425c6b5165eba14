"""The main job, as a user runs it: trains, is killed, and continues to the very same parameters."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from warm_python import WarmPython

DIGITS = Path(__file__).parent.parent / "examples" / "digits.py"
SHORT = ("--epochs", "3")
HARD_STOP = 137  # the status of a process that was killed
INTERRUPTED = 130  # that of one that Ctrl-C has stopped


def run(python: WarmPython, run_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return python.run(DIGITS, "--run-dir", run_dir, *options)


def finished(python: WarmPython, run_dir: Path, *options: str) -> str:
    result = run(python, run_dir, *options)
    assert result.returncode == 0, result.stderr
    return result.stdout


def parameter_hash(printed: str) -> str:
    found = re.search(r"\b[0-9a-f]{64}\b", printed)
    assert found is not None, printed
    return found.group()


def newest(run_dir: Path) -> Path:
    return max((folder for folder in run_dir.iterdir() if folder.is_dir()), key=lambda folder: folder.name)


def history(run_dir: Path) -> list[str]:
    return (newest(run_dir) / "history.jsonl").read_text().splitlines()


@pytest.fixture(scope="module")
def never_stopped(warm_python: WarmPython, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was never stopped, in a fresh process, and of another one with workers."""
    run_dir = tmp_path_factory.mktemp("never_stopped")
    command = [sys.executable, str(DIGITS), "--run-dir", str(run_dir), *SHORT]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (newest(run_dir) / "hash").write_text(parameter_hash(printed))
    printed = finished(warm_python, run_dir, *SHORT, "--workers", "2")
    (newest(run_dir) / "hash").write_text(parameter_hash(printed))
    return run_dir


@pytest.fixture(scope="module")
def expected(never_stopped: Path) -> tuple[str, list[str]]:
    return (newest(never_stopped) / "hash").read_text(), history(never_stopped)


def test_full_run_reaches_97_percent(warm_python: WarmPython, tmp_path: Path) -> None:
    printed = finished(warm_python, tmp_path)

    accuracy = max(json.loads(line)["validation/accuracy"] for line in history(tmp_path))
    assert accuracy >= 0.97
    assert parameter_hash(printed)
    assert (newest(tmp_path) / "learning-curve.png").read_bytes().startswith(b"\x89PNG")
    assert list(newest(tmp_path).rglob("*.pt"))
    report = (newest(tmp_path) / "report.html").read_text()
    assert "completed at iteration" in report
    assert "DAMAGED" not in report


def test_each_run_gets_a_folder_of_its_own(never_stopped: Path) -> None:
    assert sorted(folder.name for folder in never_stopped.iterdir()) == ["001", "002"]


def test_run_is_the_same_for_any_number_of_workers(never_stopped: Path) -> None:
    alone, together = sorted(never_stopped.iterdir())

    assert (alone / "hash").read_text() == (together / "hash").read_text()
    assert (alone / "history.jsonl").read_text() == (together / "history.jsonl").read_text()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_hard_stops_and_resuming_each_time_end_with_the_same_parameters(
    workers: str, warm_python: WarmPython, expected: tuple[str, list[str]], tmp_path: Path
) -> None:
    # Before the first checkpoint, and so from the start again; then inside an epoch, on its way to the next checkpoint.
    for options in ((*SHORT, "--workers", workers, "--stop-after", "7"), ("--resume", "--stop-after", "59")):
        assert run(warm_python, tmp_path, *options).returncode == HARD_STOP
    printed = finished(warm_python, tmp_path, "--resume")

    assert (parameter_hash(printed), history(tmp_path)) == expected


@pytest.mark.parametrize("workers", ["0", "2"])
def test_sigkills_and_resuming_each_time_end_with_the_same_parameters(
    workers: str, warm_python: WarmPython, expected: tuple[str, list[str]], tmp_path: Path
) -> None:
    kill_behind(warm_python, 60, tmp_path, *SHORT, "--workers", workers)  # inside the second epoch of 45 iterations
    kill_behind(warm_python, 100, tmp_path, "--resume")  # inside the third
    printed = finished(warm_python, tmp_path, "--resume")

    assert (parameter_hash(printed), history(tmp_path)) == expected


@pytest.mark.parametrize("workers", ["0", "2"])
def test_ctrl_c_stops_with_a_checkpoint_and_resuming_ends_with_the_same_parameters(
    workers: str, warm_python: WarmPython, expected: tuple[str, list[str]], tmp_path: Path
) -> None:
    options = (DIGITS, "--run-dir", tmp_path, *SHORT, "--workers", workers)
    stopped = warm_python.run("-c", KILL, "SIGINT", 60, tmp_path, *options)
    assert (stopped.returncode, "Traceback" in stopped.stderr) == (INTERRUPTED, False), stopped.stderr
    printed = finished(warm_python, tmp_path, "--resume")

    assert (parameter_hash(printed), history(tmp_path)) == expected


# The killing thread shares the processor with the training, so that it is never too late on a busy machine.
KILL = """
import os, runpy, signal, sys, threading, time
from pathlib import Path

def kill_behind(number, iteration, run_dir):
    while not any(int(file.stem.split("_")[-1]) >= iteration for file in run_dir.glob("*/checkpoints/latest_*.pt")):
        time.sleep(0.005)
    os.kill(os.getpid(), number)

signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored where this runs in the background
what = signal.Signals[sys.argv[1]], int(sys.argv[2]), Path(sys.argv[3])
threading.Thread(target=kill_behind, args=what, daemon=True).start()
sys.argv = sys.argv[4:]
sys.path[0] = str(Path(sys.argv[0]).parent)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def kill_behind(python: WarmPython, iteration: int, run_dir: Path, *options: str) -> None:
    """Kill a run at some moment after it has a checkpoint of that iteration or a later one."""
    killed = python.run("-c", KILL, "SIGKILL", iteration, run_dir, DIGITS, "--run-dir", run_dir, *options)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


def test_damaged_newest_checkpoint_is_passed_over_also_with_other_workers(
    warm_python: WarmPython, expected: tuple[str, list[str]], tmp_path: Path
) -> None:
    assert run(warm_python, tmp_path, *SHORT, "--stop-after", "70").returncode == HARD_STOP
    files = sorted(newest(tmp_path).rglob("*.pt"), key=lambda file: file.stat().st_mtime_ns)
    damaged = bytearray(files[-1].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    files[-1].write_bytes(damaged)

    printed = finished(warm_python, tmp_path, "--resume", "--workers", "2")

    assert (parameter_hash(printed), history(tmp_path)) == expected


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (("--epochs", "0"), "--epochs"),
        (("--batch-size", "-3"), "--batch-size"),
        (("--lr", "nan"), "--lr"),
        (("--workers", "-1"), "--workers"),
        (("--stop-after", "0"), "--stop-after"),
        (("--device", "toaster"), "--device"),
        (("--resume",), "--resume"),
    ],
)
def test_bad_option_is_one_clear_line(
    options: tuple[str, ...], name: str, warm_python: WarmPython, tmp_path: Path
) -> None:
    result = run(warm_python, tmp_path / "runs", *options)

    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert name in result.stderr.splitlines()[-1]
