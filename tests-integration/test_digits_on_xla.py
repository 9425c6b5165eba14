"""The main job on an XLA device, which is the CPU seen through torch_xla. Needs the extra `xla`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch_xla")

DIGITS = Path(__file__).parent.parent / "examples" / "digits.py"
HARD_STOP = 137  # the status of a process that was killed


def run(run_dir: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PJRT_DEVICE": "CPU"}
    command = [sys.executable, str(DIGITS), "--run-dir", str(run_dir), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=environment)


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[str], Path]:
    run_dir = tmp_path_factory.mktemp("never_stopped")
    ran = run(run_dir, "--device", "xla", "--epochs", "2")
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()[-1], history(run_dir), run_dir


def history(run_dir: Path) -> list[str]:
    return (run_dir / "001" / "history.jsonl").read_text().splitlines()


def test_training_on_xla_learns(never_stopped: tuple[str, list[str], Path]) -> None:
    _, lines, _ = never_stopped

    assert json.loads(lines[-1])["validation/accuracy"] > 0.85


def test_what_was_saved_on_xla_is_read_without_it(never_stopped: tuple[str, list[str], Path]) -> None:
    code = (
        "import sys, torch\n"
        "for path in sys.argv[1:]:\n"
        "    saved = torch.load(path, weights_only=True)\n"
        "    print({tensor.device.type for tensor in saved.get('model', saved).values()}, 'torch_xla' in sys.modules)\n"
    )
    files = [str(file) for file in never_stopped[2].rglob("*.pt")]
    printed = subprocess.run([sys.executable, "-c", code, *files], capture_output=True, text=True, check=True).stdout

    assert len(files) == 3  # the best and the two latest
    assert printed.splitlines() == ["{'cpu'} False"] * 3


def test_hard_stop_on_xla_and_resume_end_with_the_same_parameters(
    never_stopped: tuple[str, list[str], Path], tmp_path: Path
) -> None:
    expected_hash, expected_history, _ = never_stopped
    stopped = run(tmp_path, "--device", "xla", "--epochs", "2", "--stop-after", "70")
    assert stopped.returncode == HARD_STOP, stopped.stderr

    resumed = run(tmp_path, "--resume")

    assert resumed.returncode == 0, resumed.stderr
    assert (resumed.stdout.split()[-1], history(tmp_path)) == (expected_hash, expected_history)
