"""Interrupt runs at random moments: whatever the moment, the engine can go on afterwards."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from outcome import Outcome

PROGRAM = Path(__file__).parents[2] / "packages" / "engine-core" / "tests" / "interrupt_storm.py"


def run(full: bool) -> Outcome:
    """Interrupt 20,000 times, in the slice 300 times."""
    wanted = 20_000 if full else 300
    done = subprocess.run([sys.executable, PROGRAM, str(wanted)], capture_output=True, text=True, check=False)
    counts = re.fullmatch(r"(\d+) interrupts, (\d+) stuck\n", done.stdout)
    if done.returncode or counts is None:
        return Outcome("G17 interrupts of runs", 0, 1, (done.stderr.strip().splitlines() or [done.stdout])[-1])
    cases, stuck = map(int, counts.groups())
    return Outcome("G17 interrupts of runs", cases, stuck, "an engine, or its thread, that believed a run went on")
