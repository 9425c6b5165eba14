"""A small training of several processes that can be killed, stopped and made to fail anywhere; prints what it saw."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, mse_loss
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset

from camshaft.deterministic import KeyedSampler
from camshaft.distributed import Process, start
from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, History, StopOnSignal
from camshaft.supervised import attach_mean_loss, create_supervised_trainer

GLOBAL_BATCH = 8
EPOCHS = 3
SAVE_EVERY = 2
PLACES = ("step", "fetch", "handler", "collect", "sync", "rename", "outcome")


class Fault:
    """What happens to this process, where, and in which iteration."""

    def __init__(self, options: argparse.Namespace, process: Process) -> None:
        self.is_mine = options.rank == process.rank and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
        self.kind, self.place, self.iteration = options.fault, options.place, options.at
        self.trainer: Engine[Any, Any] | None = None

    def reach(self, place: str) -> None:
        """Come to a place; perhaps no further."""
        if not self.is_mine or place != self.place or self.trainer is None:
            return
        if self.trainer.state.iteration < self.iteration:
            return
        self.is_mine = False
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind == "signal":
            os.kill(os.getpid(), signal.SIGTERM)
        elif self.kind in ("raise", "catch"):
            raise ZeroDivisionError("made up")
        elif self.kind == "sleep":
            time.sleep(600)


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Numbers, augmented with noise."""

    def __init__(self, size: int, fault: Fault) -> None:
        self.size = size
        self.fault = fault

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.fault.reach("fetch")
        return index + torch.rand(3) / 2, torch.rand(1)


class Collected:
    """An object whose state is asked for in every save."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault

    def consolidate_state_dict(self, to: int) -> None:
        self.fault.reach("collect")

    def state_dict(self) -> dict[str, int]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


def spy(fault: Fault) -> None:
    """Let the fault come up between the system calls of a save."""
    sync, replace = os.fsync, os.replace

    def watched_sync(descriptor: Any) -> None:
        sync(descriptor)
        fault.reach("sync")

    def watched_replace(*args: Any, **options: Any) -> None:
        replace(*args, **options)
        fault.reach("rename")

    os.fsync, os.replace = watched_sync, watched_replace  # type: ignore[assignment]  # another name of a parameter


def run(options: argparse.Namespace, process: Process) -> dict[str, Any]:
    """Train, or go on; return what was seen."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    fault, seen = Fault(options, process), list[Any]()
    spy(fault)
    samples = Samples(options.size, fault)
    share = KeyedSampler(samples, num_replicas=process.size, rank=process.rank, global_batch_size=GLOBAL_BATCH)
    data = DataLoader(samples, GLOBAL_BATCH // process.size, sampler=share, num_workers=options.workers)
    model = nn.Linear(3, 1)
    trained = DistributedDataParallel(model) if process.size > 1 else model
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def forward(model: nn.Module, x: Tensor) -> Tensor:
        fault.reach("step")
        seen.append([trainer.state.iteration, x[:, 0].tolist()])
        y: Tensor = model(dropout(x / options.size, 0.2))
        return y

    trainer = create_supervised_trainer(trained, optimizer, mse_loss, deterministic=True, model_fn=forward)
    fault.trainer = trainer
    process.agree(trainer)
    attach_mean_loss(trainer)
    history = History(options.folder / "history.jsonl")
    history.attach(trainer)
    objects = {
        "trainer": trainer, "model": model, "optimizer": optimizer, "history": history, "collected": Collected(fault),
    }  # fmt: skip
    latest = Checkpoint(objects, options.folder / "checkpoints", n_saved=2)
    saves = Events.ITERATION_COMPLETED(every=SAVE_EVERY) | Events.EPOCH_COMPLETED
    trainer.add_event_handler(saves, latest)
    trainer.add_event_handler(Checkpoint.SAVED_CHECKPOINT, lambda: fault.reach("outcome"))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: fault.reach("handler"))
    if options.stop:
        stop = Events.ITERATION_COMPLETED(once=options.stop)
        trainer.add_event_handler(stop, latest)
        if process.rank == process.size - 1:  # one of them asks
            trainer.add_event_handler(stop, trainer.terminate)
    report = latest.restore_latest(missing_ok=True)
    try:
        with StopOnSignal(trainer, latest, loaders=[data]):
            trainer.run(data, max_epochs=EPOCHS, seed=5)
    except ZeroDivisionError:
        if fault.kind == "catch":  # goes elsewhere, for as long as the other is there
            torch.distributed.recv(torch.ones(1), 1 - process.rank)
        raise
    parameters = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
    return {
        "parameters": hashlib.sha256(parameters).hexdigest(),
        "history": history.rows() if process.rank == 0 else None,
        "iteration": trainer.state.iteration,
        "resumed": None if report is None else report.step,
        "seen": seen,
    }


def main() -> None:
    """Read the options, join the others, run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=37)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--stop", type=int, default=0)
    parser.add_argument("--fault", default="none")
    parser.add_argument("--place", choices=PLACES, default="step")
    parser.add_argument("--rank", type=int, default=-1)
    parser.add_argument("--at", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=60.0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    timeout_s = 20 if options.fault == "sleep" else 60
    grace_s = 2 if options.fault == "catch" else 5  # where it is not waited for, a busy machine may need it
    with start(timeout_s=timeout_s, control_timeout_s=options.timeout, grace_s=grace_s, device="cpu") as process:
        found = run(options, process)
        printed = json.dumps(found)
        (options.folder / f"rank-{process.rank}.json").write_text(printed)
        print(printed)


if __name__ == "__main__":
    main()
