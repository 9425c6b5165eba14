"""The digits job in workers of Ray, one of them killed, ends as under torchrun. `hatch run ray:test` has Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("ray")

EXAMPLES = Path(__file__).parent.parent / "examples"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def last_words(tmp_path: Path, *command: str) -> dict[str, str]:
    """Run an example for three epochs of 45 iterations; return the results that it prints, by name."""
    command = (sys.executable, *command, "--run-dir", str(tmp_path), "--epochs", "3")
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert ran.returncode == 0, ran.stderr
    lines = [line.split(maxsplit=1) for line in ran.stdout.splitlines() if line]
    return {name: rest[0] for name, *rest in lines if rest}


def test_a_run_whose_worker_is_killed_ends_with_the_parameters_that_torchrun_ends_with(tmp_path: Path) -> None:
    by_torchrun = last_words(tmp_path / "torchrun", *TORCHRUN, str(EXAMPLES / "digits.py"))
    by_ray = last_words(tmp_path / "ray", str(EXAMPLES / "ray_digits.py"), "--stop-after", "80")

    assert by_ray["last"].startswith("start   resumed after iteration 60")  # checkpoints are 20 iterations apart
    assert by_torchrun["parameters"] == by_ray["parameters"]
    assert by_torchrun["accuracy"] == by_ray["accuracy"]
