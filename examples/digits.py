"""Train a small convolutional network on scanned digits; stop it anywhere, go on as if it had never stopped.

    python examples/digits.py                     a few seconds, at least 97 % accuracy
    python examples/digits.py --stop-after 100    stops hard in the middle of an epoch, as a crash would
    python examples/digits.py --resume            goes on there, and ends with the same parameters

A run's numbered folder under --run-dir holds its checkpoints, its options, history.jsonl and learning-curve.png.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from torch.utils.data import DataLoader, Dataset, Subset
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from camshaft.engine import Engine, EngineError, Events
from camshaft.handlers import Checkpoint, EarlyStopping, ProgressBar, TerminateOnNan, global_step_from_engine
from camshaft.supervised import attach_metrics, create_supervised_evaluator, create_supervised_trainer

SAVE_EVERY = 20  # iterations from one checkpoint to the next


class Digits(Dataset[tuple[Tensor, int]]):
    """Scans of 8 x 8 pixels; with `augment`, shifted by a pixel and with noise, each time anew."""

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


def make_loaders(batch_size: int, workers: int) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return loaders of four fifths of the digits, augmented, and of the rest as it is."""
    training, validation = Digits(augment=True), Digits(augment=False)
    order = torch.randperm(len(training), generator=torch.Generator().manual_seed(0)).tolist()
    cut = len(order) * 4 // 5
    return (
        DataLoader(Subset(training, order[:cut]), batch_size, shuffle=True, num_workers=workers),
        DataLoader(Subset(validation, order[cut:]), batch_size=256),
    )


def make_model() -> nn.Module:
    """Return a network of two convolutions."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.25), nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


class History:
    """A line per epoch in a file. It is saved in the checkpoints: restoring one cuts the lines that came later."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def add(self, **row: float) -> None:
        """Add the line of an epoch."""
        self.load_state_dict({"rows": [*self.rows, row]})

    def state_dict(self) -> dict[str, Any]:
        """Return all lines."""
        return {"rows": [dict(row) for row in self.rows]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Put these lines into the file."""
        self.rows = [dict(row) for row in state_dict["rows"]]
        self.path.write_text("".join(f"{json.dumps(row)}\n" for row in self.rows))

    def draw(self, path: Path) -> None:
        """Draw the learning curves."""
        figure = Figure(figsize=(9, 3), layout="constrained")
        for axes, name in zip(figure.subplots(1, 3), ("train_loss", "loss", "accuracy"), strict=True):
            axes.plot([row["epoch"] for row in self.rows], [row[name] for row in self.rows], marker="o")
            axes.set(xlabel="epoch", title=name)
        figure.savefig(path)


class Job:
    """A training with everything that takes part in it."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        torch.manual_seed(options.seed)
        self.training_data, self.validation_data = make_loaders(options.batch_size, options.workers)
        self.model = make_model().to(options.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=options.lr)
        self.schedule = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, gamma=0.75)
        self.history = History(folder / "history.jsonl")
        where: dict[str, Any] = {"device": options.device, "amp_mode": "amp" if options.amp else None}
        self.trainer = create_supervised_trainer(self.model, self.optimizer, cross_entropy, deterministic=True, **where)
        attach_metrics(self.trainer, {"loss": MeanMetric()}, device=options.device)
        accuracy = MulticlassAccuracy(10, average="micro")
        self.evaluator = create_supervised_evaluator(self.model, {"accuracy": accuracy}, **where)
        attach_metrics(
            self.evaluator, {"loss": MeanMetric()}, device=options.device,
            output_transform=lambda output: (cross_entropy(*output), len(output[1])),
        )  # fmt: skip
        self.checkpoints = folder / "checkpoints"
        self.latest = self.attach_handlers()

    def attach_handlers(self) -> Checkpoint:
        """Attach what watches, stops and saves the training; return what saves all that it needs to go on."""
        trainer, evaluator, folder = self.trainer, self.evaluator, self.checkpoints
        bar = ProgressBar(running_average=0.9)
        bar.attach(trainer, output_transform=lambda loss: {"loss": loss})
        trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
        trainer.add_event_handler(Events.EPOCH_COMPLETED, self.end_epoch)
        stopping = EarlyStopping(5, lambda engine: -engine.state.metrics["loss"], trainer)
        stopping.attach(evaluator)
        epoch = global_step_from_engine(trainer)
        best = Checkpoint({"model": self.model}, folder, "best", score_name="accuracy", global_step_transform=epoch)
        evaluator.add_event_handler(Events.COMPLETED, best)
        everything = {
            "trainer": trainer, "model": self.model, "optimizer": self.optimizer, "schedule": self.schedule,
            "history": self.history, "stopping": stopping, "best": best, "bar": bar,
        }  # fmt: skip
        latest = Checkpoint(everything, folder, "latest", n_saved=2)
        trainer.add_event_handler(Events.ITERATION_COMPLETED(every=SAVE_EVERY) | Events.EPOCH_COMPLETED, latest)
        return latest

    def end_epoch(self, trainer: Engine[Any, Any]) -> None:
        """Evaluate the model, note the results, and lower the learning rate."""
        results = self.evaluator.run(self.validation_data).metrics
        self.history.add(
            epoch=trainer.state.epoch, lr=self.optimizer.param_groups[0]["lr"],
            train_loss=trainer.state.metrics["loss"], loss=results["loss"], accuracy=results["accuracy"],
        )  # fmt: skip
        self.schedule.step()

    def restore(self) -> None:
        """Go back to the newest sound checkpoint; a run that was stopped before its first one starts again."""
        if any(self.checkpoints.glob("latest_*.pt")):
            report = self.latest.restore_latest()
            print(f"resumed behind iteration {report.step}, from {report.path}")
        else:
            self.history.load_state_dict({"rows": []})
            print("no checkpoint was written yet: the run starts again")

    def hash_parameters(self) -> str:
        """Return the SHA-256 of all parameters."""
        tensors = self.model.state_dict().values()
        return hashlib.sha256(b"".join(tensor.cpu().numpy().tobytes() for tensor in tensors)).hexdigest()


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        """Leave with the message."""
        self.exit(2, f"digits.py: {message}\n")


def number(kind: type, least: float) -> Callable[[str], Any]:
    """Return what reads a number of at least `least`."""

    def read(text: str) -> Any:
        with suppress(ValueError):
            if least <= (value := kind(text)) < math.inf:
                return value
        raise argparse.ArgumentTypeError(f"must be {kind.__name__} and at least {least}, got {text!r}")

    return read


def device(text: str) -> str:
    """Read the name of a device that is there."""
    with suppress(RuntimeError, AssertionError):
        torch.empty(0, device=text)
        return text
    raise argparse.ArgumentTypeError(f"must be a device that torch can use here, got {text!r}")


def make_parser() -> Parser:
    """Return what reads the command line."""
    parser = Parser(description="Train on scanned digits.", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--epochs", type=number(int, 1), default=10, help="times to go over the digits")
    parser.add_argument("--batch-size", type=number(int, 1), default=32, help="digits per iteration")
    parser.add_argument("--lr", type=number(float, 1e-9), default=3e-3, help="learning rate of the first epoch")
    parser.add_argument("--seed", type=number(int, 0), default=0, help="decides everything that is random")
    parser.add_argument("--device", type=device, default="cpu", help="where to train")
    parser.add_argument("--workers", type=number(int, 0), default=0, help="processes that load data")
    parser.add_argument("--amp", action="store_true", help="compute in bfloat16")
    parser.add_argument("--run-dir", type=Path, default=Path("runs"), help="where the folders of the runs are")
    parser.add_argument("--resume", action="store_true", help="go on in the newest folder, with its options")
    parser.add_argument("--stop-after", type=number(int, 1), metavar="N", help="stop hard after N iterations")
    return parser


def read_options() -> tuple[argparse.Namespace, Path]:
    """Return the options and the folder of the run; a resumed run keeps the options that are not given anew."""
    parser = make_parser()
    options = parser.parse_args()
    folders = sorted(options.run_dir.glob("[0-9]*"), key=lambda folder: (len(folder.name), folder.name))
    if not options.resume:
        folder = options.run_dir / f"{int(folders[-1].name) + 1 if folders else 1:03}"
        folder.mkdir(parents=True)
        kept = {name: value for name, value in vars(options).items() if name not in ("run_dir", "resume", "stop_after")}
        (folder / "options.json").write_text(json.dumps(kept))
        return options, folder
    if not folders:
        parser.error(f"--resume: there is no run in {options.run_dir}")
    parser.set_defaults(**json.loads((folders[-1] / "options.json").read_text()))
    return parser.parse_args(), folders[-1]


def main() -> None:
    """Train and print how it went; what goes wrong is said in one line."""
    begun = time.perf_counter()
    torch.set_num_threads(1)  # faster for so small a model, and its sums are the same for any number of cores
    try:
        options, folder = read_options()
        job = Job(options, folder)
        if options.resume:
            job.restore()
        if options.stop_after is not None:
            last = Events.ITERATION_COMPLETED(once=job.trainer.position.iteration + options.stop_after)
            job.trainer.add_event_handler(last, os._exit, 137)
        job.trainer.run(job.training_data, max_epochs=options.epochs, seed=options.seed)
        job.history.draw(folder / "learning-curve.png")
    except (EngineError, OSError, ValueError) as error:
        sys.exit(f"digits.py: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit("digits.py: interrupted; --resume goes on")
    print(f"accuracy     {job.history.rows[-1]['accuracy']:.2%}")
    print(f"time         {time.perf_counter() - begun:.1f} s")
    print(f"checkpoints  {job.checkpoints}")
    print(f"parameters   {job.hash_parameters()}")


if __name__ == "__main__":
    main()
