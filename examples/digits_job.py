"""The training that `digits.py` runs: data, model, handlers, and everything that is saved to resume it."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Subset
from torchmetrics.classification import MulticlassAccuracy

from camshaft.deterministic import KeyedSampler
from camshaft.distributed import Process
from camshaft.engine import Engine, Events
from camshaft.handlers import (
    Checkpoint,
    EarlyStopping,
    History,
    LRScheduler,
    ProgressBar,
    RunLog,
    StopOnSignal,
    TerminateOnNan,
    global_step_from_engine,
)
from camshaft.supervised import attach_mean_loss, create_supervised_evaluator, create_supervised_trainer

SAVE_EVERY = 20  # iterations from one checkpoint to the next


class Digits(Dataset[tuple[Tensor, int]]):
    """Scans of shape `(1, 8, 8)`; with `augment`, shifted by up to one pixel and with noise, differently each time."""

    def __init__(self, augment: bool) -> None:
        digits = load_digits()
        self.images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
        self.labels: list[int] = digits.target.tolist()
        self.augment = augment

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index]
        if self.augment:
            down, right = torch.randint(3, (2,)).tolist()
            image = pad(image, (1, 1, 1, 1))[:, down : down + 8, right : right + 8]
            image = image + 0.05 * torch.randn(image.shape)
        return image, self.labels[index]


def make_loaders(batch_size: int, workers: int, process: Process) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return loaders of four fifths of the digits, augmented, and of the others as they are.

    A step has the same `batch_size` digits for any number of processes; each takes its share of them.
    """
    order = torch.randperm(len(Digits(augment=False)), generator=torch.Generator().manual_seed(0)).tolist()
    cut = len(order) * 4 // 5
    training = Subset(Digits(augment=True), order[:cut])
    validation = Subset(Digits(augment=False), order[cut + process.rank :: process.size])
    share = KeyedSampler(training, num_replicas=process.size, rank=process.rank, global_batch_size=batch_size)
    return (
        DataLoader(training, batch_size // process.size, sampler=share, num_workers=workers),
        DataLoader(validation, batch_size=256),
    )


def make_model() -> nn.Module:
    """Return a network of two convolutions."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.25), nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


class Job:
    """A training run with everything that takes part in it."""

    def __init__(self, options: argparse.Namespace, folder: Path, process: Process) -> None:
        self.options = options
        torch.set_num_threads(1)  # faster for such a small model, and sums are the same on any number of cores
        torch.manual_seed(options.seed)
        self.training_data, self.validation_data = make_loaders(options.batch_size, options.workers, process)
        self.model = make_model().to(process.device)
        trained = DistributedDataParallel(self.model) if process.size > 1 else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=options.lr)
        self.history = History(folder / "history.jsonl")
        where: dict[str, Any] = {"device": process.device, "amp_mode": "amp" if options.amp else None}
        self.trainer = create_supervised_trainer(trained, self.optimizer, cross_entropy, deterministic=True, **where)
        process.agree(self.trainer)
        attach_mean_loss(self.trainer, device=process.device)
        accuracy = MulticlassAccuracy(10, average="micro")
        self.evaluator = create_supervised_evaluator(self.model, {"accuracy": accuracy}, **where)
        attach_mean_loss(self.evaluator, cross_entropy, device=process.device)
        self.checkpoints = folder / "checkpoints"
        self.latest = self.attach_handlers()

    def attach_handlers(self) -> Checkpoint:
        """Attach the handlers; return the checkpoint that saves everything a resumed run needs."""
        trainer, evaluator, folder = self.trainer, self.evaluator, self.checkpoints
        bar = ProgressBar(running_average=0.9)
        bar.attach(trainer, output_transform=lambda loss: {"loss": loss})
        trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
        trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(self.validation_data))
        self.history.attach(trainer, values=self.read_results)
        RunLog(folder.parent / "run-log.jsonl").attach(trainer)
        schedule = LRScheduler(torch.optim.lr_scheduler.ExponentialLR(self.optimizer, gamma=0.75))
        schedule.attach(trainer, Events.EPOCH_COMPLETED)
        stopping = EarlyStopping(5, lambda engine: -engine.state.metrics["loss"], trainer)
        stopping.attach(evaluator)
        epoch = global_step_from_engine(trainer)
        best = Checkpoint({"model": self.model}, folder, "best", score_name="accuracy", global_step_transform=epoch)
        evaluator.add_event_handler(Events.COMPLETED, best)
        everything = {
            "trainer": trainer, "model": self.model, "optimizer": self.optimizer, "schedule": schedule,
            "history": self.history, "stopping": stopping, "best": best, "bar": bar,
        }  # fmt: skip
        latest = Checkpoint(everything, folder, "latest", n_saved=2)
        trainer.add_event_handler(Events.ITERATION_COMPLETED(every=SAVE_EVERY) | Events.EPOCH_COMPLETED, latest)
        return latest

    def run(self) -> None:
        """Train to the end, or until a signal stops the run with a checkpoint and its exit status."""
        with StopOnSignal(self.trainer, self.latest, loaders=[self.training_data, self.validation_data]):
            self.trainer.run(self.training_data, max_epochs=self.options.epochs, seed=self.options.seed)

    def read_results(self, trainer: Engine[Any, Any]) -> dict[str, float]:
        """Return the values of an epoch for the history."""
        results = self.evaluator.state.metrics
        return {
            "lr": self.optimizer.param_groups[0]["lr"], "train/loss": trainer.state.metrics["loss"],
            "validation/loss": results["loss"], "validation/accuracy": results["accuracy"],
        }  # fmt: skip

    def restore(self) -> str:
        """Restore the newest checkpoint that is not damaged; without one, the run starts from the beginning."""
        report = self.latest.restore_latest(missing_ok=True)
        if report is None:
            return "no checkpoint was written yet: the run starts from the beginning"
        return f"resumed after iteration {report.step}, from {report.path}"

    def hash_parameters(self) -> str:
        """Return the SHA-256 of all parameters."""
        tensors = self.model.state_dict().values()
        return hashlib.sha256(b"".join(tensor.cpu().numpy().tobytes() for tensor in tensors)).hexdigest()
