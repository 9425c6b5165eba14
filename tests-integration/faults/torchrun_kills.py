"""Kill one of two processes under torchrun itself, which starts both anew, and look how the run ends."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from outcome import Outcome
from ranks_started import PROGRAM

PLACES = ("step", "fetch", "collect", "outcome")


def run_job(folder: Path, *options: object) -> tuple[str, list[Any], list[Any]]:
    """Run the job to its end; return the parameters, the metrics, and where each process went on."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=2"]
    command = [sys.executable, *launcher, str(PROGRAM), str(folder), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        return done.stderr[-500:], [], []
    found = [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in range(2)]
    parameters = "".join({each["parameters"] for each in found})
    return parameters, found[0]["history"], [each["resumed"] for each in found]


def run(*, full: bool) -> Outcome:
    """Kill each process at some places; return what was counted."""
    cases = list(itertools.product(PLACES, (0, 1), (5, 8)))
    cases = cases if full else cases[:1]
    losses = 0
    with tempfile.TemporaryDirectory() as folder:
        expected = run_job(Path(folder, "undisturbed"))
        assert expected[2] == [None, None], expected
        for place, rank, iteration in cases:
            name = f"{place} {rank} {iteration}"
            options = ("--fault", "kill", "--place", place, "--rank", rank, "--at", iteration)
            found = run_job(Path(folder, name), *options)
            if found[:2] != expected[:2] or found[2] in ([], [None, None]):
                losses += 1
                print(f"{name}: {found}")
    return Outcome("G18: killed under torchrun", len(cases), losses, "all went on at the first restart")
