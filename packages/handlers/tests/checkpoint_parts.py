"""The smallest objects, engines and save handlers that tests of checkpoints need."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camshaft.engine import Engine
from camshaft.handlers import BaseSaveHandler, Checkpoint

SCORE: dict[str, Any] = {"score_function": lambda engine: 0.77}
STEP: dict[str, Any] = {"global_step_transform": lambda engine, event: engine.state.epoch}


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class Counter:
    """The smallest thing with a state."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.count = state["count"]


class InMemory(BaseSaveHandler):
    """Keeps what it is given, and a journal."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.journal: list[str] = []
        self.metadata: list[Any] = []

    def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
        self.kept[filename] = copy.deepcopy(checkpoint)
        self.journal.append(f"write {filename}")
        self.metadata.append(metadata)

    def remove(self, filename: str) -> None:
        del self.kept[filename]
        self.journal.append(f"remove {filename}")


def engine_at(iteration: int = 203, epoch: int = 12) -> Engine[Any, Any]:
    engine = Engine(lambda engine, batch: None)
    engine.state.iteration, engine.state.epoch = iteration, epoch
    return engine


def saved(handler: Any, *steps: int, **options: Any) -> Checkpoint:
    """Save a counter at each of these steps, as the step says, and return the `Checkpoint`."""
    engine = engine_at(0)
    checkpoint = Checkpoint({"count": Counter()}, handler, **options)
    for engine.state.iteration in steps:
        checkpoint.to_save["count"].count = engine.state.iteration
        checkpoint(engine)
    return checkpoint


def saved_names(saver: InMemory, handler: Checkpoint, scores: list[Any]) -> list[str]:
    """Call a handler whose score function reads `engine.state.score`, and give the names that are kept."""
    for index, score in enumerate(scores):
        engine = engine_at(index)
        engine.state.score = score
        handler(engine)
    return sorted(saver.kept)


def by_score(saver: Any, **options: Any) -> Checkpoint:
    return Checkpoint(
        {"m": Counter()}, saver, score_function=lambda engine: engine.state.score,
        global_step_transform=lambda engine, _: engine.state.iteration, **options,
    )  # fmt: skip
