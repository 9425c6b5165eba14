"""Checkpoints that are written in the background while several processes train together."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from warm_python import WarmPython

PROGRAM = """
import json, os, signal, sys
import torch
from camshaft.distributed import start
from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, DiskSaver, StopOnSignal

directory, trouble = sys.argv[1:]
with start() as process:
    def step(engine, batch):
        if trouble == "signal" and process.rank == 1 and batch == 6:
            os.kill(os.getpid(), signal.SIGTERM)

    def fail(descriptor):
        raise OSError(5, "no disk")

    if trouble == "disk" and process.rank == 0:
        os.fsync = fail
    trainer = Engine(step)
    process.agree(trainer)
    saver = DiskSaver(directory, require_empty=False, asynchronous=True)
    latest = Checkpoint({"trainer": trainer}, saver, n_saved=2)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=3), latest)
    raised, code = "", 0
    try:
        with StopOnSignal(trainer, latest):
            trainer.run(range(10))
    except BaseException as error:
        raised, code = type(error).__name__, getattr(error, "code", 1)
    names = [name for _, name in latest.state_dict()["_saved"]]
    print(json.dumps([raised, trainer.state.iteration, names]))
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("trouble", "status", "told"),
    [
        ("none", 0, ["", 10, ["trainer_6.pt", "trainer_9.pt"]]),
        ("signal", 143, ["SystemExit", 8, ["trainer_6.pt", "trainer_8.pt"]]),
        ("disk", 1, ["CheckpointWriteError", 6, []]),
    ],
)
def test_all_ranks_have_the_same_list_and_end_alike(
    trouble: str, status: int, told: list[object], warm_python: WarmPython, tmp_path: Path
) -> None:
    done = warm_python.run_ranks(2, "-c", PROGRAM, tmp_path, trouble)

    assert [each.returncode for each in done] == [status] * 2, [each.stderr for each in done]
    assert [json.loads(each.stdout) for each in done] == [told] * 2
    assert sorted(path.name for path in tmp_path.glob("*.pt")) == told[2]
