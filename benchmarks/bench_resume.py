"""From how many positions does a stopped run continue bit for bit?

A small training with random augmentation, dropout and shuffling is stopped after each of its
iterations, saved, and continued with fresh objects. A resume counts when the parameters at the
end are bitwise those of the run that was not stopped. The reference, Accelerate and Lightning are
asked the same where they are installed.

Run: hatch run bench:resume
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from bars import Figure, report
from resume_rivals import RIVALS, count_with
from torch import nn
from torch.utils.data import DataLoader, Dataset

from camshaft.deterministic import DeterministicEngine, manual_seed
from camshaft.engine import Events

SAMPLES, BATCH_SIZE, EPOCHS = 44, 8, 2


class Noisy(Dataset[torch.Tensor]):
    """Vectors with fresh noise on every fetch."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((4,), float(index)) / self.size + 0.1 * torch.randn(4)


class OneTask:
    """The training that every library does."""

    epochs = EPOCHS

    def make(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return a fresh model and its optimizer."""
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))
        return model, torch.optim.Adam(model.parameters(), lr=0.01)

    def loader(self, workers: int) -> DataLoader[torch.Tensor]:
        """Return the shuffling loader that each process makes for itself."""
        return DataLoader(Noisy(SAMPLES), BATCH_SIZE, shuffle=True, num_workers=workers)

    def loss(self, model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        """Return the mean squared distance to the mean of each vector; `batch` has the shape `(N, 4)`."""
        loss: torch.Tensor = (model(batch) - batch.mean(1, keepdim=True)).square().mean()
        return loss

    def digest(self, model: nn.Module) -> str:
        """Return a hash of the parameters."""
        flat = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        return hashlib.sha256(flat.numpy().tobytes()).hexdigest()


class Training:
    """A model, its optimizer and an engine of either library; made anew for each process that it stands for."""

    def __init__(self, engine_class: Callable[[Any], Any]) -> None:
        self.model, self.optimizer = OneTask().make()
        self.engine = engine_class(self.step)

    def step(self, _engine: Any, batch: Any) -> Any:
        """Train on one batch."""
        self.optimizer.zero_grad()
        loss: Any = OneTask().loss(self.model, batch)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint would hold, copied."""
        parts = {"model": self.model, "optimizer": self.optimizer, "engine": self.engine}
        return {name: copy.deepcopy(part.state_dict()) for name, part in parts.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.engine.load_state_dict(state["engine"])

    def digest(self) -> str:
        """Return a hash of the parameters."""
        return OneTask().digest(self.model)


def loader(workers: int) -> DataLoader[torch.Tensor]:
    """Return the shuffling loader that each process makes for itself."""
    return OneTask().loader(workers)


def count_exact(engine_class: Callable[[Any], Any], workers: int, seed_all: Callable[[int], None]) -> tuple[int, int]:
    """Return how many of all positions inside the run are resumed bitwise, and how many there are."""
    whole = Training(engine_class)
    states: list[dict[str, Any]] = []
    whole.engine.add_event_handler(_iteration_completed(whole.engine), lambda _: states.append(whole.state()))
    seed_all(56)
    whole.engine.run(loader(workers), max_epochs=EPOCHS)
    exact = 0
    for state in states[:-1]:
        resumed = Training(engine_class)
        resumed.load(state)
        seed_all(56)
        resumed.engine.run(loader(workers), max_epochs=EPOCHS)
        exact += resumed.digest() == whole.digest()
    return exact, len(states) - 1


def _iteration_completed(engine: Any) -> Any:
    if isinstance(engine, DeterministicEngine):
        return Events.ITERATION_COMPLETED
    from ignite.engine import Events as ReferenceEvents

    return ReferenceEvents.ITERATION_COMPLETED


def figures() -> Iterator[Figure]:
    """Yield the counts: ours are held to every position."""
    rivals: dict[str, tuple[Callable[[Any], Any], Callable[[int], None]]] = {
        "camshaft": (DeterministicEngine, manual_seed)
    }
    if importlib.util.find_spec("ignite") is None:
        print("the reference is not installed: no figures of it")
    else:
        from ignite.engine import DeterministicEngine as Reference
        from ignite.utils import manual_seed as seed_reference

        rivals["reference"] = (Reference, seed_reference)
    for name, (engine_class, seed_all) in rivals.items():
        for workers in (0, 2):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore" if name == "reference" else "error")
                exact, positions = count_exact(engine_class, workers, seed_all)
            what = f"{name}, {workers} workers: exact resumes from {positions} positions"
            yield Figure(what, exact, "", at_least=positions if name == "camshaft" else None)
    for name in RIVALS:
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed: no figures of it")
            continue
        for workers in (0, 2):
            exact, positions = count_with(name, OneTask(), workers)
            yield Figure(f"{name}, {workers} workers: exact resumes from {positions} positions", exact, "")


if __name__ == "__main__":
    sys.exit(report(figures()))
