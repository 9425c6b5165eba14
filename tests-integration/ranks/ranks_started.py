"""Starts processes as torchrun does, and starts them anew over the same store when one has failed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is public all the same

from warm_python import Program, WarmPython

PROGRAM = Path(__file__).with_name("ranks_job.py")
Ended = list[subprocess.CompletedProcess[str]]


class Launcher:
    """Starts the processes of one job, attempt by attempt, with one store for all of them.

    Args:
        python: runs the programs.
        size: how many processes there are.
        program: what each of them runs.
    """

    def __init__(self, python: WarmPython, size: int, program: Path = PROGRAM) -> None:
        self._python = python
        self._size = size
        self._program = program
        self._store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        self._attempts = 0

    def start(self, *args: object) -> list[Program]:
        """Start all processes, for the first time or anew.

        Args:
            *args: of the program.
        """
        shared = {
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": self._store.port, "WORLD_SIZE": self._size,
            "TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": self._attempts,
        }  # fmt: skip
        self._attempts += 1
        ranks = [{**shared, "RANK": rank, "LOCAL_RANK": rank} for rank in range(self._size)]
        return [self._python.start(self._program, *args, environment=rank) for rank in ranks]

    def run(self, *args: object, meanwhile: Callable[[list[Program]], object] = lambda _: None) -> Ended:
        """Run all processes to their end; they end by themselves, also where one has failed."""
        programs = self.start(*args)
        meanwhile(programs)
        return [program.wait() for program in programs]


def finished(ended: Ended) -> list[dict[str, Any]]:
    """Return what processes have printed that ended well."""
    failed = [each.stderr[-2000:] for each in ended if each.returncode]
    assert not failed, failed
    return [json.loads(each.stdout) for each in ended]


def result_of(ended: Ended) -> tuple[str, list[Any]]:
    """Return the parameters and the metrics that processes have ended with; all have the same parameters."""
    found = finished(ended)
    (parameters,) = {each["parameters"] for each in found}
    return parameters, found[0]["history"]
