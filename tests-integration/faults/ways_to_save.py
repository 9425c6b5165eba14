"""Every way of writing checkpoints, and writers that leave out a step of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, CheckpointEvents, DiskSaver, ModelCheckpoint

WIDTH = 40  # weights of two blocks
LARGE_WIDTH = 800  # weights of 2.4 MiB, written in several portions
SCORES = {1: 0.9, 2: 0.5, 3: 0.7, 4: 0.8}

Note = Callable[[int], None]
Way = Callable[[Path, Note], None]


def model_of(step: int) -> nn.Linear:
    """Return a model that tells the step it is of."""
    model = nn.Linear(WIDTH, WIDTH)
    nn.init.constant_(model.weight, step)
    return model


def save_by(handler: Checkpoint, model: nn.Linear, steps: Iterable[int], note: Note) -> None:
    """Let a handler save at these steps, and note each one once it has returned."""
    engine: Engine[None, None] = Engine(lambda engine, batch: None)
    engine.register_events(*CheckpointEvents)
    engine.add_event_handler(Checkpoint.SAVED_CHECKPOINT, lambda: note(engine.state.iteration))
    for step in steps:
        engine.state.iteration = step
        nn.init.constant_(model.weight, step)
        if isinstance(handler, ModelCheckpoint):
            handler(engine, {"model": model})
        else:
            handler(engine)


def with_checkpoint(
    directory: Path, note: Note, *, steps: int = 4, durable: bool = True, is_large: bool = False, **options: Any
) -> None:
    model = model_of(0)
    objects = {"model": model, "more": nn.Linear(LARGE_WIDTH, LARGE_WIDTH)} if is_large else {"model": model}
    saver = DiskSaver(directory, durable=durable)
    save_by(Checkpoint(objects, saver, **options), model, range(1, steps + 1), note)
    saver.close()


def in_the_background(directory: Path, note: Note, *, n_saved: int) -> None:
    """Save after each iteration while the run goes on; what is noted is the step of the file that is safe."""
    model, saver = model_of(0), DiskSaver(directory, asynchronous=True)
    latest = Checkpoint({"model": model}, saver, n_saved=n_saved)
    engine: Engine[int, None] = Engine(lambda engine, batch: None)
    engine.register_events(*CheckpointEvents)
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: nn.init.constant_(model.weight, engine.state.iteration)
    )
    engine.add_event_handler(Events.ITERATION_COMPLETED, latest)
    engine.add_event_handler(
        Checkpoint.SAVED_CHECKPOINT, lambda: note(int(Path(str(latest.newest_checkpoint)).stem[6:]))
    )
    engine.run(range(4))
    saver.close()


def with_scores(directory: Path, note: Note) -> None:
    """Keep the two best; the third save removes the second one, which is the newest until then."""
    with_checkpoint(directory, note, n_saved=2, score_function=lambda engine: SCORES[engine.state.iteration])


def with_best_and_latest(directory: Path, note: Note) -> None:
    model = model_of(0)
    saver = DiskSaver(directory)
    latest = Checkpoint({"model": model}, saver, n_saved=1)
    best = Checkpoint({"model": model}, saver, "best", score_function=lambda engine: -SCORES[engine.state.iteration])
    for step in SCORES:
        save_by(latest, model, [step], note)
        save_by(best, model, [step], lambda _: None)
    saver.close()


def with_model_checkpoint(directory: Path, note: Note) -> None:
    handler = ModelCheckpoint(directory, n_saved=2)
    save_by(handler, model_of(0), range(1, 5), note)
    handler.save_handler.close()


def with_removal_by_hand(directory: Path, note: Note) -> None:
    saver = DiskSaver(directory)
    for step in (1, 2, 3):
        saver({"model": model_of(step).state_dict()}, f"model_{step}.pt")
        note(step)
    note(2)
    saver.remove("model_3.pt")
    saver.close()


def with_restart(directory: Path, note: Note) -> None:
    with_checkpoint(directory, note, steps=2, n_saved=2)
    model = model_of(0)
    saver = DiskSaver(directory, require_empty=False)
    handler = Checkpoint({"model": model}, saver, n_saved=1)
    handler.restore_latest()
    save_by(handler, model, (3, 4), note)
    saver.close()


WAYS: dict[str, Way] = {
    "first save": partial(with_checkpoint, steps=1),
    "same name": partial(with_checkpoint, steps=3, n_saved=1, filename_pattern="{name}.{ext}"),
    "n_saved=1": partial(with_checkpoint, n_saved=1),
    "n_saved=2": partial(with_checkpoint, n_saved=2),
    "n_saved=None": partial(with_checkpoint, n_saved=None),
    "best 2": with_scores,
    "best and latest": with_best_and_latest,
    "ModelCheckpoint": with_model_checkpoint,
    "removal by hand": with_removal_by_hand,
    "restart": with_restart,
    "asynchronous": partial(in_the_background, n_saved=1),
    "asynchronous, n_saved=2": partial(in_the_background, n_saved=2),
    "large file": partial(with_checkpoint, steps=2, n_saved=1, is_large=True),
}


def naive(directory: Path, note: Note, *, sync_file: bool, sync_directory: bool, remove_first: bool) -> None:
    """Save under a temporary name and rename, as many programs do, but for the steps left out."""
    directory.mkdir()
    _sync(directory.parent)
    for step in (1, 2, 3):
        old, new, temporary = directory / f"model_{step - 1}.pt", directory / f"model_{step}.pt", directory / "new"
        if remove_first:
            old.unlink(missing_ok=True)
        torch.save({"model": model_of(step).state_dict()}, temporary)
        if sync_file:
            _sync(temporary)
        temporary.replace(new)
        if sync_directory:
            _sync(directory)
        old.unlink(missing_ok=True)
        note(step)


def in_place(directory: Path, note: Note) -> None:
    directory.mkdir()
    _sync(directory.parent)
    for step in (1, 2, 3):
        torch.save({"model": model_of(step).state_dict()}, directory / "model.pt")
        _sync(directory / "model.pt")
        _sync(directory)
        note(step)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


NAIVE_WAYS: dict[str, Way] = {
    "no fsync": partial(naive, sync_file=False, sync_directory=False, remove_first=False),
    "file not synced": partial(naive, sync_file=False, sync_directory=True, remove_first=False),
    "directory not synced": partial(naive, sync_file=True, sync_directory=False, remove_first=False),
    "old one removed first": partial(naive, sync_file=True, sync_directory=True, remove_first=True),
    "written in place": in_place,
}
UNPROMISED: dict[str, Way] = {"durable=False": partial(with_checkpoint, n_saved=1, durable=False)}
