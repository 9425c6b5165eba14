"""Circumstances in which directories of checkpoints are found: clocks, owners, restarts, moves, other handlers."""

from __future__ import annotations

import os
import random
import stat
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from ways_to_save import model_of

from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, DiskSaver, TerminateOnNan, list_checkpoints, restore_latest

DAY_S, YEAR_S = 86_400, 365 * 86_400


def save_at(handler: Checkpoint, model: nn.Linear, step: int) -> None:
    engine: Engine[None, None] = Engine(lambda engine, batch: None)
    engine.state.iteration = step
    nn.init.constant_(model.weight, step)
    handler(engine)


def restored_step(directory: Path) -> int:
    model = model_of(0)
    restore_latest(directory, {"model": model})
    return int(model.weight[0, 0])


@pytest.mark.parametrize("shift_s", [-DAY_S, 0, YEAR_S])
def test_the_newest_is_found_whatever_the_clock_did(tmp_path: Path, shift_s: int) -> None:
    model, now = model_of(0), time.time()
    for step in (1, 2, 3):  # a new process each time
        saver = DiskSaver(tmp_path, require_empty=False)
        save_at(Checkpoint({"model": model}, saver, n_saved=None), model, step)
        saver.close()
        moment = now + step * shift_s
        os.utime(tmp_path / f"model_{step}.pt", (moment, moment))

    assert restored_step(tmp_path) == 3
    assert [item.step for item in list_checkpoints(tmp_path)] == [3, 2, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="the group of a new file is another matter elsewhere")
@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_a_shared_directory_gives_its_group_and_the_umask_the_mode(tmp_path: Path, umask: int, mode: int) -> None:
    tmp_path.chmod(0o2775)
    before = os.umask(umask)
    try:
        saver = DiskSaver(tmp_path)
        saver({"model": model_of(1).state_dict()}, "model_1.pt")
    finally:
        os.umask(before)
    status = (tmp_path / "model_1.pt").stat()

    assert mode == stat.S_IMODE(status.st_mode)
    assert tmp_path.stat().st_gid == status.st_gid


@pytest.mark.parametrize("seed", range(8))
def test_restarts_with_any_limit_and_moves_in_between_keep_the_limit_and_the_newest(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    directory, step = tmp_path / "0", 0
    for move in range(1, 6):
        n_saved = choose.choice([1, 2, 3, None])
        model = model_of(0)
        saver = DiskSaver(directory, require_empty=False)
        handler = Checkpoint({"model": model}, saver, n_saved=n_saved)
        if step:
            assert handler.restore_latest().step == step
        present = len(list_checkpoints(directory))
        saves = choose.randint(1, 4)
        for _ in range(saves):
            step += 1
            save_at(handler, model, step)
        saver.close()
        files = [item.path.name for item in list_checkpoints(directory)]

        assert len(files) == min(present + saves, n_saved or 1000)
        assert files[0] == f"model_{step}.pt"
        assert restored_step(directory) == step
        directory = directory.rename(tmp_path / str(move))


def test_a_model_that_has_become_nan_is_never_the_best(tmp_path: Path) -> None:
    model = model_of(1)

    def step(engine: Engine[float, torch.Tensor], batch: float) -> torch.Tensor:
        with torch.no_grad():
            model.weight.mul_(batch)
        return model.weight.sum()

    trainer: Engine[float, torch.Tensor] = Engine(step)
    best = Checkpoint({"model": model}, tmp_path, score_function=lambda engine: engine.state.output, n_saved=1)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    trainer.add_event_handler(Events.ITERATION_COMPLETED, best)
    trainer.run([2.0, 3.0, float("nan"), 5.0], max_epochs=1)

    assert trainer.state.iteration == 3
    assert restored_step(tmp_path) == 6


def test_a_save_inside_an_open_window_waits_for_its_end(tmp_path: Path) -> None:
    model = model_of(0)

    def step(engine: Engine[int, None], batch: int) -> None:
        nn.init.constant_(model.weight, engine.state.iteration)

    trainer: Engine[int, None] = Engine(step)
    trainer.hold_safe_points(lambda: trainer.state.iteration % 3 != 0)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=4), Checkpoint({"model": model}, tmp_path))
    trainer.run(range(9), max_epochs=1)

    assert restored_step(tmp_path) == 6
