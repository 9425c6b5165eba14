"""Change every state right after it was saved in the background: each file has to hold what was there then."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from outcome import Outcome
from torch import nn

from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, DiskSaver

SAVES = 8  # in each run


class Training:
    """A run whose every step changes all tensors in place, and what its files have to hold."""

    def __init__(self, directory: Path, seed: int) -> None:
        torch.manual_seed(seed)
        width = 1 + seed % 300
        first, last = nn.Linear(width, 2 * width), nn.Linear(2 * width, 3)
        if seed % 2:
            last.weight = nn.Parameter(first.weight.detach()[:2])  # memory that two tensors share
        self.model = nn.Sequential(first, nn.BatchNorm1d(2 * width), last)
        self.optimizer = torch.optim.Adam(self.model.parameters())
        self.engine: Engine[Any, None] = Engine(lambda engine, batch: self.change())
        self.saver = DiskSaver(directory, asynchronous=True)
        self.latest = Checkpoint({"model": self.model, "optimizer": self.optimizer}, self.saver, n_saved=2)
        self.expected: dict[str, Any] = {}
        self.compared = 0
        self.problems: list[str] = []
        self.engine.register_events(Checkpoint.SAVED_CHECKPOINT)
        self.engine.add_event_handler(Events.ITERATION_COMPLETED, self.note)
        self.engine.add_event_handler(Events.ITERATION_COMPLETED, self.latest)
        self.engine.add_event_handler(Checkpoint.SAVED_CHECKPOINT, self.compare)

    def change(self) -> None:
        for parameter in self.model.parameters():
            parameter.grad = torch.randn_like(parameter)
        self.optimizer.step()
        for buffer in self.model.buffers():
            buffer += 1

    def note(self) -> None:
        states = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        self.expected[f"checkpoint_{self.engine.state.iteration}.pt"] = copy.deepcopy(states)

    def compare(self) -> None:
        path = Path(str(self.latest.newest_checkpoint))
        self.compared += 1
        if not is_same(self.expected.pop(path.name), torch.load(path)):
            self.problems.append(f"{path.name} holds something else")


def is_same(one: Any, other: Any) -> bool:
    """Return whether two states are the same bit for bit."""
    if isinstance(one, torch.Tensor):
        is_alike = one.dtype == other.dtype and one.shape == other.shape
        return bool(is_alike and one.numpy().tobytes() == other.numpy().tobytes())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    return bool(one == other)


def run(full: bool) -> Outcome:
    """Save and change 8 times in each of 200 runs, in the slice of 6."""
    problems, cases, runs = [], 0, 200 if full else 6
    for seed in range(runs):
        with tempfile.TemporaryDirectory() as name:
            training = Training(Path(name), seed)
            training.engine.run(range(SAVES))
            training.saver.close()
        cases += training.compared
        problems += training.problems
    lost = runs * SAVES - cases
    detail = "; ".join([f"{lost} saves were not compared", *problems[:5]])
    return Outcome("G13 states changed right after", cases, len(problems) + lost, detail)
