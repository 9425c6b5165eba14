"""Kill processes while they save, and look at what they leave: `python kill_saves.py DIRECTORY KILLS [SEED]`.

Each round forks a process that trains and saves in a loop, kills it at a random moment, and checks that nothing but
whole checkpoints is there, that the newest one that was reported as saved, or a newer one, is restored, and that the
next saver removes what was left behind. One line of JSON at the end tells what was seen; a broken promise is an error.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from camshaft.engine import Engine, Events
from camshaft.handlers import (
    Checkpoint,
    DiskSaver,
    NoCheckpointError,
    list_checkpoints,
    restore_latest,
    verify_checkpoint,
)
from camshaft.handlers.checkpoint.format._file_name import is_temporary

LIMITS = (1, 2, None)
LARGEST_DELAY_S = 0.03
MOST_AWAITED_SAVES = 6


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def objects() -> dict[str, torch.nn.Module | Engine[None, None]]:
    return {"model": torch.nn.Linear(200, 200), "trainer": Engine(lambda engine, batch: None)}


def save_for_ever(directory: Path, n_saved: int | None, report: int, *, asynchronous: bool) -> None:
    """Train and save, and tell of every checkpoint once it is said to be safe."""
    training = objects()
    trainer, model = training["trainer"], training["model"]
    assert isinstance(trainer, Engine)
    assert isinstance(model, torch.nn.Linear)

    @trainer.on(Events.ITERATION_STARTED)
    def step() -> None:
        torch.nn.init.constant_(model.weight, trainer.state.iteration)

    saver = DiskSaver(directory, require_empty=False, asynchronous=asynchronous)
    latest = Checkpoint(training, saver, n_saved=n_saved)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, latest)

    @trainer.on(Checkpoint.SAVED_CHECKPOINT)
    def tell() -> None:
        os.write(report, f"{Path(str(latest.newest_checkpoint)).stem.rpartition('_')[2]}\n".encode())

    trainer.run(max_epochs=1, epoch_length=100_000)


def killed_run(directory: Path, n_saved: int | None, saves: int, delay_s: float, *, asynchronous: bool) -> int:
    """Let a process save, and kill it a moment after this many saves.

    Returns:
        The iteration of the last checkpoint that was reported as saved, 0 if none was.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            save_for_ever(directory, n_saved, writing, asynchronous=asynchronous)
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as reports:
        lines = [reports.readline() for _ in range(saves)]
        time.sleep(delay_s)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, "the process ended by itself"
        lines += reports.read().splitlines()
    return max((int(line) for line in lines if line.strip()), default=0)


def check(directory: Path, reported: int, n_saved: int | None) -> int:
    """Check what a killed run left, and return the number of temporary files."""
    leftovers = [name for name in names(directory) if is_temporary(name)]
    files = list_checkpoints(directory)
    assert len(files) + len(leftovers) == len(names(directory)), names(directory)
    assert len(leftovers) <= 1, leftovers
    for item in files:
        verify_checkpoint(item.path)
    assert n_saved is None or len(files) <= n_saved + 1, files
    restored = objects()
    try:
        step = restore_latest(directory, restored).step
    except NoCheckpointError:
        step = 0
    assert step is not None
    assert step >= reported, f"iteration {reported} was reported as saved, {step} was restored"
    if step:
        model = restored["model"]
        assert isinstance(model, torch.nn.Linear)
        assert bool((model.weight == step).all())
    DiskSaver(directory, require_empty=False)
    assert not [name for name in names(directory) if is_temporary(name)]
    return len(leftovers)


def warm_up(directory: Path) -> None:
    """Save and load once, so that what torch imports on first use is there in every forked process."""
    DiskSaver(directory)({"weight": torch.ones(1)}, "weight.pt", {"basename": "weight"})
    restore_latest(directory, {"model": torch.nn.ParameterDict({"weight": torch.zeros(1)})})


def main(directory: Path, kills: int, seed: int) -> None:
    torch.set_num_threads(1)
    rng = random.Random(seed)
    warm_up(directory / "warm_up")
    seen = {"kills": 0, "saves": 0, "leftovers": 0, "before_the_first_save": 0}
    for count in range(kills):
        n_saved = LIMITS[count % len(LIMITS)]
        place = directory / str(count)
        place.mkdir()
        awaited = 0 if count % 4 == 3 else rng.randint(1, MOST_AWAITED_SAVES)
        asynchronous = count % 2 == 1
        reported = killed_run(place, n_saved, awaited, rng.uniform(0, LARGEST_DELAY_S), asynchronous=asynchronous)
        assert reported >= awaited, f"{awaited} saves were awaited, {reported} are known"
        seen["kills"] += 1
        seen["saves"] += reported
        seen["leftovers"] += check(place, reported, n_saved)
        seen["before_the_first_save"] += not reported
        gc.collect()
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
