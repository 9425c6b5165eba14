"""A small training, saved in the middle of an epoch: with every version in the same words.

    python small_training.py write FOLDER    train, save after 8 of 15 iterations, print what it ends with
    python small_training.py read FOLDER     load, go on, print the same

It uses what has been public since the first version only.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from camshaft.deterministic import DeterministicEngine, ResumeMismatch
from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, EarlyStopping, History

SAVED_AT, SEED, EPOCHS = 8, 3, 3


class Noisy(Dataset[Tensor]):
    """Forty samples with noise."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Tensor:
        return (torch.arange(4.0) + index + torch.rand(4)) / 40


def score(engine: Engine[Any, Any]) -> float:
    """Return what early stopping compares."""
    return -float(engine.state.output or 0)


class Training:
    """A model with everything that its run consists of."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2), nn.Linear(4, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.engine: DeterministicEngine[Any, Any] = DeterministicEngine(self.step)
        stopping = EarlyStopping(50, score, self.engine)
        stopping.attach(self.engine, Events.EPOCH_COMPLETED)
        history = History(folder / "history.jsonl")
        history.attach(self.engine, output_transform=lambda loss: {"loss": loss})
        objects = {
            "engine": self.engine, "model": self.model, "optimizer": self.optimizer, "stopping": stopping,
            "history": history,
        }  # fmt: skip
        self.save = Checkpoint(objects, folder, "run")

    def step(self, engine: Any, batch: Tensor) -> float:
        loss = nn.functional.mse_loss(self.model(batch), batch[:, :1])
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self.optimizer.step()
        return loss.item()

    def run(self) -> None:
        self.engine.run(DataLoader(Noisy(), batch_size=8, shuffle=True), max_epochs=EPOCHS, seed=SEED)

    def hash(self) -> str:
        return hashlib.sha256(b"".join(each.detach().numpy().tobytes() for each in self.model.parameters())).hexdigest()


def write(folder: Path) -> dict[str, Any]:
    """Save in the middle of a run, and return what it has then and what it ends with."""
    training = Training(folder)
    saved: list[str] = []
    at = Events.ITERATION_COMPLETED(once=SAVED_AT)
    training.engine.add_event_handler(at, training.save)
    training.engine.add_event_handler(at, lambda: saved.append(training.hash()))
    training.run()
    return {"saved": saved[0], "end": training.hash()}


def read(folder: Path) -> dict[str, Any]:
    """Load and go on; return the same. Where the run cannot go on exactly, that is said instead of its end."""
    training = Training(folder)
    report = training.save.restore_latest()
    assert report.step == SAVED_AT, report
    loaded = training.hash()
    try:
        training.run()
    except ResumeMismatch as mismatch:
        return {"saved": loaded, "end": f"refused: {', '.join(sorted(mismatch.fields))}"}
    return {"saved": loaded, "end": training.hash()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({"write": write, "read": read}[sys.argv[1]](Path(sys.argv[2]))))
