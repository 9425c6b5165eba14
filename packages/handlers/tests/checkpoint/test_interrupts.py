from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

INTERRUPTS = 150
PROGRAM = Path(__file__).with_name("interrupt_saves.py")


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
def test_an_interrupted_save_is_complete_or_leaves_no_trace(tmp_path: Path) -> None:
    command = [sys.executable, str(PROGRAM), str(tmp_path), str(INTERRUPTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen.pop("interrupted") + seen.pop("swallowed", 0) == INTERRUPTS, done.stderr
    assert 0 < seen.pop("saved") < INTERRUPTS
    assert set(seen.values()) == {0}, seen
