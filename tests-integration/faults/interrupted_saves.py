"""Interrupt saves at random moments: each is complete, or leaves no trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from outcome import Outcome

PROGRAM = Path(__file__).parents[2] / "packages" / "handlers" / "tests" / "checkpoint" / "interrupt_saves.py"


def run(full: bool) -> Outcome:
    """Interrupt 20,000 times, in the slice 100 times, by a process for every core."""
    interrupts, processes = (20_000, os.cpu_count() or 1) if full else (100, 1)
    each = interrupts // processes
    with tempfile.TemporaryDirectory() as directory:
        running = [start(Path(directory, str(seed)), each, seed) for seed in range(processes)]
        outputs = [(process.communicate(), process.returncode) for process in running]
    seen: dict[str, int] = {}
    losses, details = 0, []
    for (output, errors), status in outputs:
        sys.stderr.write(errors)
        if status:
            losses += 1
            details.append(f"exit status {status}: {errors.strip()[-200:]}")
            continue
        for name, count in json.loads(output).items():
            seen[name] = seen.get(name, 0) + count
    surfaced, saved, swallowed = seen.pop("interrupted", 0), seen.pop("saved", 0), seen.pop("swallowed", 0)
    losses += sum(seen.values()) + (surfaced + swallowed < each * processes)
    broken = {name: count for name, count in seen.items() if count}
    seen_well = f"{saved} of the saves were completed; {swallowed} interrupts were swallowed by Python itself"
    detail = "; ".join([seen_well, *(f"{key}: {broken[key]}" for key in broken), *details])
    return Outcome("G17 interrupts of saves", surfaced, losses, detail)


def start(directory: Path, interrupts: int, seed: int) -> subprocess.Popen[str]:
    """Start a process that saves and is interrupted."""
    command = [sys.executable, str(PROGRAM), str(directory), str(interrupts), str(seed)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
