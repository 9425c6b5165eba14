"""Kill processes while they save, on the disk and on another file system than that of temporary files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from outcome import Outcome

PROGRAM = Path(__file__).parents[2] / "packages" / "handlers" / "tests" / "checkpoint" / "kill_saves.py"
IN_MEMORY = Path("/dev/shm")  # noqa: S108  # a file system of its own is what it is wanted for


def run(full: bool) -> Outcome:
    """Kill 500 times at each place, in the slice six times."""
    kills = 500 if full else 6
    places = [Path(tempfile.gettempdir())]
    if os.access(IN_MEMORY, os.W_OK):
        places.append(IN_MEMORY)
    details, losses = [], 0
    for seed, place in enumerate(places):
        with tempfile.TemporaryDirectory(dir=place) as directory:
            command = [sys.executable, str(PROGRAM), directory, str(kills), str(seed)]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            losses += 1
            details.append(f"{place}: {ran.stderr.strip().splitlines()[-1]}")
        else:
            seen = json.loads(ran.stdout)
            losses += seen["saves"] < kills * 3 // 4  # kills of processes that save nothing show nothing
            details.append(f"{place}: {seen['saves']} saves, {seen['leftovers']} leftovers removed")
    return Outcome("G6 kills while saving", kills * len(places), losses, "; ".join(details))
