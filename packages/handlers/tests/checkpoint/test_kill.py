from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

KILLS = 12


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_no_kill_costs_a_checkpoint(tmp_path: Path) -> None:
    program = Path(__file__).with_name("kill_saves.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path), str(KILLS)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["kills"] == KILLS
    assert seen["saves"] >= KILLS * 3 // 4  # in a quarter of the rounds the kill may come before the first save
