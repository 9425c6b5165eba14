"""Trainings through an accelerator by one or several processes: stopped and resumed in every way, and by torch alone.

torchrun --nproc-per-node 2 accelerated_job.py FOLDER
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from camshaft.deterministic import KeyedSampler
from camshaft.distributed import Process, start
from camshaft.engine import Engine, Events, ranks
from camshaft.handlers import Checkpoint
from camshaft.supervised import attach_mean_loss, create_supervised_trainer

SAMPLES, BATCH, STEPS, EPOCHS = 37, 8, 2, 2  # 5 batches: the last window of an epoch has one
STOPPED_AFTER = 8  # inside the second window of an epoch
Row = dict[str, Any]


class Job(NamedTuple):
    """A training that has not begun."""

    model: nn.Module
    optimizer: Any
    loader: Any
    trainer: Engine[Any, Any]
    accelerator: Any = None

    def stop(self) -> None:
        """Run until the stop."""
        asked = STOPPED_AFTER - (ranks().size > 1)  # a vote takes an iteration
        with self.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=asked), self.trainer.terminate):
            self.run()
        assert STOPPED_AFTER == self.trainer.state.iteration

    def run(self) -> Row:
        """Run to the end; return how it ends."""
        self.trainer.run(self.loader, max_epochs=EPOCHS, seed=5)
        whole = b"".join(each.detach().numpy().tobytes() for each in self.model.parameters())
        return {"parameters": hashlib.sha256(whole).hexdigest(), "loss": self.trainer.state.metrics.get("loss")}


class Jobs:
    """Makes jobs, all alike.

    Args:
        process: this process.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(SAMPLES, 4, generator=generator)
        self.data = TensorDataset(x, x.sum(1, keepdim=True))

    def accelerated(self, *, theirs: bool) -> Job:
        """Return a job through an accelerator of its own, over a loader that it divides, or over ours."""
        accelerator = Accelerator(cpu=True, gradient_accumulation_steps=STEPS)
        model, optimizer = accelerator.prepare(*self._model())
        share = DataLoader(self.data, BATCH // self.process.size, shuffle=True)
        loader = accelerator.prepare(share) if theirs else self._ours()
        return self._job(model, optimizer, loader, accelerator=accelerator)._replace(accelerator=accelerator)

    def plain(self) -> Job:
        """Return the same job without an accelerator."""
        model, optimizer = self._model()
        replica = DistributedDataParallel(model) if self.process.size > 1 else model
        return self._job(replica, optimizer, self._ours(), gradient_accumulation_steps=STEPS)

    def _model(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
        return model, torch.optim.Adam(model.parameters(), lr=0.05)

    def _ours(self) -> DataLoader[Any]:
        size, rank = self.process.size, self.process.rank
        share = KeyedSampler(self.data, num_replicas=size, rank=rank, global_batch_size=BATCH)
        return DataLoader(self.data, BATCH // size, sampler=share)

    def _job(self, model: nn.Module, optimizer: Any, loader: Any, **options: Any) -> Job:
        options |= {"deterministic": True, "clip_grad_norm": 0.5}
        trainer = create_supervised_trainer(model, optimizer, nn.functional.mse_loss, **options)
        self.process.agree(trainer)
        attach_mean_loss(trainer)
        return Job(model, optimizer, loader, trainer)


def through_checkpoint(make: Callable[[], Job], folder: Path) -> Row:
    """Stop inside a window, and resume from a `Checkpoint`."""
    stopped, resumed = make(), make()
    for job in (stopped, resumed):
        objects = {"trainer": job.trainer, "model": job.model, "optimizer": job.optimizer}
        latest = Checkpoint(objects, folder / "checkpoints", n_saved=1)
        job.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=6), latest)  # taken at the end of its window
        if job is stopped:
            job.stop()
        else:
            torch.manual_seed(99)
            latest.restore_latest()
    return resumed.run()


def through_save_state(make: Callable[[], Job], folder: Path) -> Row:
    """Stop inside a window, and resume from what the accelerator has saved."""
    stopped, resumed = make(), make()
    for job in (stopped, resumed):
        accelerator, trainer = job.accelerator, job.trainer
        accelerator.register_for_checkpointing(trainer)
        accelerator.register_save_state_pre_hook(lambda *_, trainer=trainer: trainer.consolidate_state_dict(0))

        def save(engine: Engine[Any, Any], accelerator: Accelerator = accelerator) -> None:
            # At the end of a run a window may be open, whose gradients are not saved.
            engine.at_safe_point(lambda: engine.is_exact and accelerator.save_state(folder / "state"))

        trainer.add_event_handler(Events.ITERATION_COMPLETED, save)
        if job is stopped:
            job.stop()
        else:
            torch.manual_seed(99)
            accelerator.wait_for_everyone()  # for rank 0 to have written
            accelerator.load_state(folder / "state")
    return resumed.run()


def synchronized(job: Job) -> list[bool]:
    """Return in which iterations the accelerator synchronized gradients."""
    seen: list[bool] = []
    job.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(job.accelerator.sync_gradients))
    job.run()
    return seen


def main(folder: Path) -> None:
    """Train in all ways, and print how each ended."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with start(timeout_s=60, device="cpu") as process:
        jobs = Jobs(process)
        rows: Row = {"plain": jobs.plain().run()}
        for name in ("ours", "theirs"):
            make = partial(jobs.accelerated, theirs=name == "theirs")
            rows[name] = {
                "whole": make().run(),
                "checkpoint": through_checkpoint(make, folder / name),
                "save_state": through_save_state(make, folder / name),
                "synchronized": synchronized(make()),
            }
        print(json.dumps(rows))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
