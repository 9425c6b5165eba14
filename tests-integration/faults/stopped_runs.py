"""Send signals to runs, and look whether they have stopped with a checkpoint, and their workers with them."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from outcome import Outcome
from stopped_job import AT, SAVED_BEFORE

from camshaft.handlers import DiskSaver, restore_latest
from warm_python import WarmPython

PROGRAM = Path(__file__).with_name("stopped_job.py")
PLACES = ("step", "fetch", "evaluation", "collect", "sync")
STATUS = {"SIGTERM": 143, "SIGINT": 130, "SIGUSR1": 138}
WORKERS_END_S = 1.0
GROUP_RUNS = 100  # of SIGTERM to all processes, with two workers


class Case(NamedTuple):
    """Where a run is when a signal comes.

    Attributes:
        place: a place that `stopped_job.py` knows.
        workers: how many worker processes its loaders have.
        target: `process` or `group`.
        signal: the name of the signal.
        times: how often it is sent.
    """

    place: str
    workers: int
    target: str
    signal: str
    times: int = 1

    @property
    def is_immediate(self) -> bool:
        """Return whether the run is left where it is."""
        return self.times > 1 or self.place == "endless evaluation"

    @property
    def status(self) -> int:
        """Return the exit status that belongs to it; negative for a KeyboardInterrupt that nobody has handled."""
        return -signal.SIGINT if self.times > 1 and self.signal == "SIGINT" else STATUS[self.signal]

    def as_seen_by(self, done: subprocess.CompletedProcess[str]) -> Case:
        """Return the case as it was for the run.

        Two signals that come while signals wait are one, and Python drops what a handler raises in some places.
        """
        is_one = self.place == "sync" and done.returncode == STATUS[self.signal]
        return self._replace(times=1) if is_one or "Exception ignored in" in done.stderr else self


def all_cases() -> list[Case]:
    """Return every combination, and G12."""
    found = [Case(*each) for each in itertools.product(PLACES, (0, 2), ("process", "group"), STATUS)]
    second = itertools.product(PLACES, (0, 2), ("process", "group"), ("SIGTERM", "SIGINT"), (2,))
    found += [Case(*each) for each in second]
    found += [Case("endless evaluation", *each) for each in itertools.product((0, 2), ("process", "group"), STATUS)]
    return found + [Case("step", 2, "group", "SIGTERM")] * GROUP_RUNS


def few_cases() -> list[Case]:
    """Return one combination of each kind."""
    return [
        Case("step", 2, "group", "SIGTERM"),
        Case("fetch", 2, "group", "SIGINT"),
        Case("evaluation", 2, "group", "SIGUSR1"),
        Case("sync", 0, "process", "SIGTERM"),
        Case("step", 2, "group", "SIGINT", 2),
        Case("endless evaluation", 0, "process", "SIGTERM"),
    ]


def problems_of(case: Case, python: WarmPython, directory: Path) -> list[str]:
    """Return what a run did wrong that was sent a signal."""
    done = python.run(PROGRAM, directory, case.workers, case.place, case.target, case.signal, case.times)
    case = case.as_seen_by(done)
    told = json.loads(directory.with_suffix(".json").read_text())
    problems = []
    if done.returncode != case.status:
        problems.append(f"status {done.returncode}, not {case.status}: {done.stderr.strip()[-300:]}")
    if survivors := still_there(told["workers"]):
        problems.append(f"{len(survivors)} workers are left")
    if len(told["workers"]) < case.workers:
        problems.append(f"there were only {len(told['workers'])} workers")
    # A batch that is being fetched is trained on: a safe point is never between a fetch and the end of its step.
    if told["begun_after"] > 1:
        problems.append(f"{told['begun_after']} steps were begun after the signal")
    model = torch.nn.Linear(2, 2)
    report = restore_latest(directory, {"model": model}, missing_ok=True)
    step = 0 if report is None else report.step
    if report is not None and set(model.weight.flatten().tolist()) != {step}:
        problems.append(f"step {step} holds other values")
    problems += [*_wrong_step(case, step, told["done"]), *_left_over(directory)]
    return [f"{case}: {problem}" for problem in problems]


def _wrong_step(case: Case, step: float | None, done: int) -> Iterator[str]:
    if case.is_immediate:
        # In a save it may have been complete by then.
        allowed = {SAVED_BEFORE, AT} if case.place in ("collect", "sync") else {SAVED_BEFORE}
        if case.place == "fetch":  # which is done ahead with workers
            allowed = {0, 2, SAVED_BEFORE, AT}
        if step not in allowed:
            yield f"step {step} was restored after a run that was left at once"
    elif step != done:
        yield f"step {step} was restored, and {done} were done"
    elif case.place != "fetch" and done != AT:
        yield f"{done} iterations were done, not {AT}"


def _left_over(directory: Path) -> list[str]:
    DiskSaver(directory, require_empty=False).close()
    return [f"{path.name} is left over" for path in directory.iterdir() if path.suffix != ".pt"]


def still_there(pids: Iterable[int]) -> list[int]:
    """Return which processes are there a second later."""
    pids, end = list(pids), time.monotonic() + WORKERS_END_S
    while pids and time.monotonic() < end:
        pids = [pid for pid in pids if _is_there(pid)]
        time.sleep(0.01)
    return pids


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def run(full: bool) -> Outcome:
    """Send signals in all combinations, and a hundred times to the group; in the slice in a few."""
    cases = all_cases() if full else few_cases()
    python, losses = WarmPython(("torch", "torch.utils.data")), []
    try:
        for case in cases:
            with tempfile.TemporaryDirectory() as name:
                losses.append(problems_of(case, python, Path(name).resolve() / "checkpoints"))
    finally:
        python.close()
    broken = [problem for each in losses for problem in each]
    in_groups = sum(case == Case("step", 2, "group", "SIGTERM") for case in cases)
    detail = "; ".join([f"{in_groups} of them SIGTERM to all processes of a run with 2 workers", *broken[:5]])
    return Outcome("G12 signals", len(cases), sum(map(bool, losses)), detail)
