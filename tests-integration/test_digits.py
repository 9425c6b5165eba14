"""The main job, as a user runs it: trains, is killed, and continues to the very same parameters."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

DIGITS = Path(__file__).parent.parent / "examples" / "digits.py"
SHORT = ("--epochs", "3")


def run(run_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DIGITS), "--run-dir", str(run_dir), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def finished(run_dir: Path, *options: str) -> str:
    result = run(run_dir, *options)
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


@pytest.fixture(scope="module", params=["0", "2"], ids=["no-workers", "two-workers"])
def workers(request: pytest.FixtureRequest) -> tuple[str, str]:
    return "--workers", request.param


@pytest.fixture(scope="module")
def whole(workers: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str]]:
    run_dir = tmp_path_factory.mktemp("whole")
    printed = finished(run_dir, *SHORT, *workers)
    return parameter_hash(printed), history(run_dir)


def test_full_run_reaches_97_percent(tmp_path: Path) -> None:
    printed = finished(tmp_path)

    accuracy = max(json.loads(line)["accuracy"] for line in history(tmp_path))
    assert accuracy >= 0.97
    assert parameter_hash(printed)
    assert (newest(tmp_path) / "learning-curve.png").read_bytes().startswith(b"\x89PNG")
    assert list(newest(tmp_path).rglob("*.pt"))


def test_run_is_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    alone = parameter_hash(finished(tmp_path / "alone", *SHORT, "--workers", "0"))
    together = parameter_hash(finished(tmp_path / "together", *SHORT, "--workers", "2"))

    assert alone == together


def test_each_run_gets_a_folder_of_its_own(tmp_path: Path) -> None:
    finished(tmp_path, "--epochs", "1")
    finished(tmp_path, "--epochs", "1")

    assert len([folder for folder in tmp_path.iterdir() if folder.is_dir()]) == 2


@pytest.mark.parametrize("iterations", ["7", "59"])
def test_hard_stop_and_resume_ends_with_the_same_parameters(
    iterations: str, workers: tuple[str, str], whole: tuple[str, list[str]], tmp_path: Path
) -> None:
    stopped = run(tmp_path, *SHORT, *workers, "--stop-after", iterations)
    assert stopped.returncode != 0

    printed = finished(tmp_path, "--resume", *workers)

    assert (parameter_hash(printed), history(tmp_path)) == whole


@pytest.mark.parametrize("epoch", [1, 2])
def test_sigkill_inside_an_epoch_and_resume_ends_with_the_same_parameters(
    epoch: int, workers: tuple[str, str], whole: tuple[str, list[str]], tmp_path: Path
) -> None:
    command = [sys.executable, str(DIGITS), "--run-dir", str(tmp_path), *SHORT, *workers]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (
            tmp_path.exists() and any(tmp_path.iterdir()) and _lines(tmp_path) >= epoch
        ):
            time.sleep(0.01)
        time.sleep(0.05)  # into the next epoch
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL

    printed = finished(tmp_path, "--resume", *workers)

    assert (parameter_hash(printed), history(tmp_path)) == whole


def _lines(run_dir: Path) -> int:
    file = newest(run_dir) / "history.jsonl"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_resuming_twice_ends_with_the_same_parameters(whole: tuple[str, list[str]], tmp_path: Path) -> None:
    for options in (("--stop-after", "20"), ("--resume", "--stop-after", "40"), ("--resume", "--stop-after", "75")):
        assert run(tmp_path, *SHORT, *options).returncode != 0

    printed = finished(tmp_path, "--resume", *SHORT)

    assert (parameter_hash(printed), history(tmp_path)) == whole


def test_damaged_newest_checkpoint_is_passed_over(whole: tuple[str, list[str]], tmp_path: Path) -> None:
    assert run(tmp_path, *SHORT, "--stop-after", "70").returncode != 0
    files = sorted(newest(tmp_path).rglob("*.pt"), key=lambda file: file.stat().st_mtime_ns)
    damaged = bytearray(files[-1].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    files[-1].write_bytes(damaged)

    printed = finished(tmp_path, "--resume")

    assert (parameter_hash(printed), history(tmp_path)) == whole


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
def test_bad_option_is_one_clear_line(options: tuple[str, ...], name: str, tmp_path: Path) -> None:
    result = run(tmp_path / "runs", *options)

    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert name in result.stderr.splitlines()[-1]
