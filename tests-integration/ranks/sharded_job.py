"""A training of a sharded model by several processes, saved and restored; one may be killed at any stage of a save."""

from __future__ import annotations

import argparse
import errno
import hashlib
import itertools
import json
import os
import shutil
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.functional import mse_loss

from camshaft.distributed import Process, start
from camshaft.engine import Engine, Events, ranks
from camshaft.handlers import Checkpoint, ShardedSaver
from camshaft.supervised import attach_mean_loss, create_supervised_trainer

BATCHES, SIZE, SAVE_EVERY = 8, 8, 2
LAYOUTS = ("fsdp", "tp", "fsdp and tp")
STAGES = ("begin", "begun", "copied", "written", "hashed", "listed", "named", "committed", "told", "removing")
FULL = "full"  # a stage at which the disk of this process has no room from then on


class Fault:
    """Kills this process at a stage of its n-th save, or raises there."""

    def __init__(self, options: argparse.Namespace, trainer: Engine[Any, Any]) -> None:
        self.stage, self.at, self.kills, self.trainer = options.stage, options.at, not options.raises, trainer
        self.is_due = False  # whether it is going to raise while this save is written in the background

    def reach(self, stage: str) -> None:
        """Come to a stage; perhaps no further."""
        if stage != self.stage or self.trainer.state.iteration < self.at:
            return
        if self.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        raise ZeroDivisionError("made up")

    def spy(self, process: Process) -> None:
        """Let the fault come up where a process of its rank comes to in a save, in whichever thread."""
        before = {"where to write shards": "begin", "hashing shards": "written"}
        after = {
            "where to write shards": "begun", "copying shards": "copied", "hashing shards": "hashed",
            "listing shards": "listed", "its outcome": "committed", "its end": "told",
        }  # fmt: skip
        exchange, gather = process.exchange, distributed.all_gather_object
        in_background = itertools.cycle(["writing shards", "hashing shards", "listing shards"])

        def watched(what: str, value: Any) -> list[Any]:
            step = what.rpartition(": ")[2]
            self.is_due |= step == "copying shards" and not self.kills and self.trainer.state.iteration >= self.at
            self.reach(before.get(step, ""))
            told = exchange(what, value)
            self.reach(after.get(step, ""))
            return told

        def watched_gather(*args: Any, **options: Any) -> None:
            what = next(in_background)
            self.reach(before.get(what, ""))
            gather(*args, **options)
            while self.is_due and ranks().size > 1:  # what comes now is done after the run has failed, and let go
                time.sleep(0.05)
            self.reach(after.get(what, ""))

        process.exchange = watched  # type: ignore[method-assign]
        distributed.all_gather_object = watched_gather
        rmtree, replace = shutil.rmtree, os.replace

        def watched_removal(*args: Any, **options: Any) -> None:
            self.reach("removing")
            rmtree(*args, **options)

        def watched_replace(*args: Any, **options: Any) -> None:
            replace(*args, **options)
            self.reach("named")

        sync = os.fsync

        def full(descriptor: Any) -> None:
            if self.stage == FULL and self.trainer.state.iteration >= self.at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(descriptor)

        shutil.rmtree, os.replace, os.fsync = watched_removal, watched_replace, full  # type: ignore[assignment]


def make_batches(rank: int, size: int) -> list[Any]:
    """Return this process's share of some batches."""
    generator = torch.Generator().manual_seed(1)
    whole = [torch.rand(SIZE, 4, generator=generator) for _ in range(BATCHES)]
    return [(batch[rank::size], batch[rank::size].sum(1, keepdim=True)) for batch in whole]


def digest(state: Any) -> str:
    """Return a hash of all tensors of a state, as whole ones."""
    found = hashlib.sha256()
    waiting = [state]
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            whole = value.full_tensor() if hasattr(value, "full_tensor") else value
            found.update(whole.detach().numpy().tobytes())
        elif isinstance(value, dict):
            waiting += [value[key] for key in sorted(value, key=str)]
        elif isinstance(value, list | tuple):
            waiting += value
    return found.hexdigest()


def spread(model: nn.Sequential, layout: str, process: Process) -> tuple[int, int]:
    """Shard a model; return which share of each batch this process is to have, of how many."""
    if process.size == 1:
        return 0, 1
    shares = {"fsdp": process.size, "tp": 1, "fsdp and tp": 2}[layout]
    mesh = init_device_mesh("cpu", (shares, process.size // shares), mesh_dim_names=("data", "tensor"))
    if layout != "fsdp":  # the last layer has whole parameters, which are not sharded
        parallelize_module(model, mesh["tensor"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
    if layout != "tp":
        fully_shard(model, mesh=mesh["data"])
    return mesh["data"].get_local_rank(), shares


def run(options: argparse.Namespace, process: Process) -> dict[str, Any]:
    """Restore, train on; return what the end looks like."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1), nn.Linear(1, 1))
    share = spread(model, options.layout, process)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    trainer = create_supervised_trainer(model, optimizer, mse_loss, gradient_accumulation_steps=2, clip_grad_norm=0.5)
    process.agree(trainer)
    attach_mean_loss(trainer)
    saver = ShardedSaver(options.folder, asynchronous=options.asynchronous)
    latest = Checkpoint({"model": model, "optimizer": optimizer, "trainer": trainer}, saver, n_saved=1)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=SAVE_EVERY), latest)
    fault = Fault(options, trainer)
    if options.rank == process.rank:
        fault.spy(process)
    report = latest.restore_latest(missing_ok=True)
    restored = [digest(model.state_dict()), digest(optimizer.state_dict())]
    if options.stop:
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=options.stop), trainer.terminate)
    trainer.run(make_batches(*share), max_epochs=2, seed=3)
    return {
        "resumed": None if report is None else report.step,
        "skipped": [] if report is None else [[path.name, reason] for path, reason in report.skipped],
        "restored": restored,
        "end": [digest(model.state_dict()), digest(optimizer.state_dict())],
        "loss": trainer.state.metrics.get("loss"),
        "iteration": trainer.state.iteration,
        "there": sorted(path.name.partition(".pt")[0] + path.suffix for path in options.folder.iterdir()),
    }


def main() -> None:
    """Read the options, join the others, run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=LAYOUTS, default="fsdp")
    parser.add_argument("--asynchronous", action="store_true")
    parser.add_argument("--stop", type=int, default=0)
    parser.add_argument("--stage", default="none")
    parser.add_argument("--raises", action="store_true")
    parser.add_argument("--rank", type=int, default=-1)
    parser.add_argument("--at", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with start(timeout_s=60, device="cpu") as process:
        print(json.dumps(run(options, process)))


if __name__ == "__main__":
    main()
