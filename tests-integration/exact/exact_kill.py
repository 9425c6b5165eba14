"""A training in a process of its own, killed by SIGKILL, and resumed from its newest checkpoint by another one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from exact_cases import Outcome, disturb
from exact_job import Job, Setting
from exact_samples import Workers

from camshaft.engine import Events
from camshaft.handlers import Checkpoint, DiskSaver

sys.path.append(str(Path(__file__).parents[2] / "tools"))  # which the tests have on their path
from warm_python import WarmPython

# What the processes import before they are begun: they are forks of one that has.
MODULES = ("torch", "torch.utils.data", "torch._dynamo", "torchdata.stateful_dataloader", "torchdata.nodes")
KILLED_AT = (5, 4)  # iterations, counted in each process


def kill_and_resume(setting: Setting, workers: tuple[Workers, ...], seed: int) -> list[Outcome]:
    """Run a training whole, and in three processes of which the first two are killed; compare all they wrote."""
    with tempfile.TemporaryDirectory() as name, closing(WarmPython(MODULES)) as python:
        folder = Path(name)
        (folder / "whole").mkdir()
        (folder / "killed").mkdir()
        whole = _run(python, setting, folder / "whole", seed, None)
        expected = _entries(folder / "whole")
        outcomes = []
        for number, each in enumerate(workers):
            last = KILLED_AT[number] if number < len(KILLED_AT) else None
            resumed = setting._replace(workers=each)
            process = _run(python, resumed, folder / "killed", seed, last)
            problem = None if process.returncode == (0 if last is None else -signal.SIGKILL) else process.stderr
            happened = _entries(folder / "killed")
            if problem is None and (whole.returncode or expected[: len(happened)] != happened):
                problem = whole.stderr or "the killed run wrote something else"
            if problem is None and last is None and len(happened) != len(expected):
                problem = f"{len(expected)} entries were expected, {len(happened)} were written"
            if number:
                outcomes.append(Outcome(setting, resumed, "SIGKILL", "killed", problem))
        return outcomes


def _run(
    python: WarmPython, setting: Setting, folder: Path, seed: int, kill_at: int | None
) -> subprocess.CompletedProcess[str]:
    process = python.start(__file__, json.dumps(setting), folder, seed, json.dumps(kill_at))
    ended = process.wait()
    with suppress(ProcessLookupError):  # workers of a killed process live until they notice that they are alone
        os.killpg(process.pid, signal.SIGKILL)
    return ended


def _entries(folder: Path) -> list[Any]:
    log = folder / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


class KilledJob(Job):
    """A job with checkpoints on a disk, which have the log as a part; it is in a file, too."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        self.folder = folder
        super().__init__(setting)
        self.latest = Checkpoint(
            {**self.parts, "log": self}, DiskSaver(folder, require_empty=False, durable=False), n_saved=2
        )
        for name in setting.saves_at:
            self.trainer.add_event_handler(Events[name], self.latest)

    def _attach_checkpoint(self) -> None:
        """Leave the one in memory out."""

    def state_dict(self) -> dict[str, Any]:
        """Return the log, and write it down: it is compared after a kill, too."""
        self.write()
        return {"log": json.dumps(self.log)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what was logged by then."""
        self.log = json.loads(state["log"])

    def write(self) -> None:
        """Write the log down."""
        (self.folder / "log.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in self.log))


def main(setting: str, folder: str, seed: str, kill_at: str) -> None:
    """Run a training, from its newest checkpoint if there is one, and die on the way if told so."""
    os.setsid()  # its workers are ended with its session
    kind, workers, *rest = json.loads(setting)
    fields: list[Any] = [tuple(each) if isinstance(each, list) else each for each in rest]
    job = KilledJob(Setting(kind, Workers(*workers), *fields), Path(folder))
    is_resumed = any(Path(folder).glob("*.pt"))
    disturb(os.getpid() if is_resumed else int(seed))
    if is_resumed:
        job.latest.restore_latest()
    if (last := json.loads(kill_at)) is not None:
        at = Events.ITERATION_STARTED(once=job.trainer.position.iteration + last)
        job.trainer.add_event_handler(at, os.kill, os.getpid(), signal.SIGKILL)
    job.run(resumed=is_resumed)
    job.write()


if __name__ == "__main__":
    main(*sys.argv[1:])
