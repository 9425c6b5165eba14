"""A training run that is sent a signal: `stopped_job.py DIRECTORY WORKERS PLACE TARGET SIGNAL TIMES`.

The signal comes from another process, as it does in life, when the run is at PLACE: in a step, in a fetch, in an
evaluation, in one that does not end, while states are collected, or while a file is synced. TARGET is `process`, or
`group` for all processes of the job. What the run has done is in the file `DIRECTORY.json` afterwards.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset

from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, StopOnSignal

AT = 6  # the iteration with the signal
SAVED_BEFORE = 4  # the last iteration before it with a checkpoint
BATCH_SIZE = 2
FOR_EVER_S = 600


class Sending(NamedTuple):
    """What is sent to a process, or to all of its group."""

    process: int
    target: str
    number: int
    times: int

    def send(self) -> None:
        """Send it from a process that is neither the job nor one of its workers; return when it was sent."""
        for _ in range(self.times):
            child = os.fork()
            if child == 0:
                signal.signal(self.number, signal.SIG_IGN)
                (os.killpg if self.target == "group" else os.kill)(self.process, self.number)
                os._exit(0)
            os.waitpid(child, 0)


class Numbers(Dataset[int]):
    """The numbers from 0; with something to send, it is sent when the first one of iteration `AT` is fetched."""

    def __init__(self, sending: Sending | None, length: int) -> None:
        self.sending, self.length = sending, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        if self.sending is not None and index == BATCH_SIZE * (AT - 1):
            self.sending.send()
        return index


class Job:
    """The run, and the place in it where the signal comes."""

    def __init__(self, directory: Path, workers: int, place: str, sending: Sending) -> None:
        self.directory, self.place, self.sending = directory, place, sending
        self.is_told = False
        self.begun_after = 0  # steps that were begun although a signal had come
        self.workers: list[int | None] = []
        self.model = torch.nn.Linear(2, 2)
        self.trainer: Engine[Any, None] = Engine(lambda engine, batch: self.train())
        self.evaluator: Engine[Any, None] = Engine(lambda engine, batch: self.evaluate())
        fetched = Numbers(sending if place == "fetch" else None, 200)
        self.data = DataLoader(fetched, BATCH_SIZE, num_workers=workers)
        self.evaluated = DataLoader(Numbers(None, 4), num_workers=workers)
        self.latest = Checkpoint({"model": self.model, "trainer": self.trainer, "job": self}, directory)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=AT), lambda: self.evaluator.run(self.evaluated))
        saved = Events.ITERATION_COMPLETED(once=[2, SAVED_BEFORE, AT])
        self.trainer.add_event_handler(saved, self.latest)
        grace_s = 0.05 if place == "endless evaluation" else 60.0
        self.stop = StopOnSignal(self.trainer, self.latest, loaders=[self.data, self.evaluated], grace_s=grace_s)

    def run(self) -> None:
        try:
            with self.stop:
                self.trainer.run(self.data)
        finally:
            told = {"done": self.trainer.state.iteration, "begun_after": self.begun_after, "workers": self.workers}
            self.directory.with_suffix(".json").write_text(json.dumps(told))

    def train(self) -> None:
        self.begun_after += self.stop.signal_number is not None
        self.workers = self.workers or [worker.pid for worker in multiprocessing.active_children()]
        torch.nn.init.constant_(self.model.weight, self.trainer.state.iteration)
        if self.trainer.state.iteration == AT:
            self.reach("step")

    def evaluate(self) -> None:
        self.reach("evaluation")
        if self.place == "endless evaluation":
            self.reach(self.place)
            time.sleep(FOR_EVER_S)

    def reach(self, place: str) -> None:
        """Let the signal come if this is the place for it."""
        if place == self.place and not self.is_told:
            self.is_told = True
            self.sending.send()

    def state_dict(self) -> dict[str, Any]:
        if self.trainer.state.iteration == AT:
            self.reach("collect")
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is saved."""


def reach_in_sync(job: Job) -> None:
    """Let the signal come while the file of iteration `AT` is synced."""
    sync = os.fsync

    def call(descriptor: Any) -> None:
        if job.trainer.state.iteration == AT:
            job.reach("sync")
        sync(descriptor)

    os.fsync = call  # type: ignore[assignment]  # it takes what is synced here


def main() -> None:
    directory, workers, place, target, name, times = sys.argv[1:]
    os.setsid()  # a group of its own, which can be sent a signal
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which was ignored where this runs in the background
    job = Job(Path(directory), int(workers), place, Sending(os.getpid(), target, signal.Signals[name], int(times)))
    reach_in_sync(job)
    job.run()


if __name__ == "__main__":
    main()
