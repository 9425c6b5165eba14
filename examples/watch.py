"""Watch a training run on scanned digits: a progress bar, a learning curve, a log, and a profile.

    python examples/watch.py --folder watched

writes history.jsonl, learning-curve.png, lr-range-test.png, log.csv, profile.json and trace.json into the folder and
prints the profile as a table. Open trace.json at https://ui.perfetto.dev or in chrome://tracing.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset, random_split
from torchmetrics.classification import MulticlassAccuracy

from camshaft.engine import Engine, Events
from camshaft.handlers import (
    CSVLogger,
    EarlyStopping,
    ExponentialMovingAverage,
    History,
    LRScheduler,
    Profiler,
    ProgressBar,
    TerminateOnNan,
    TimeLimit,
    global_step_from_engine,
    lr_range_test,
    with_warmup,
)
from camshaft.supervised import attach_mean_loss, create_supervised_evaluator, create_supervised_trainer

AnyEngine = Engine[Any, Any]


def make_loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return loaders of four fifths of the digits and of the others."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    dataset = TensorDataset(images, torch.tensor(digits.target))
    training, validation = random_split(dataset, [0.8, 0.2], torch.Generator().manual_seed(0))
    return DataLoader(training, 32, shuffle=True), DataLoader(validation, 256)


def make_model() -> nn.Module:
    """Return a network of two convolutions."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.25), nn.Linear(32 * 4 * 4, 10),
    )  # fmt: skip


def make_evaluator(model: nn.Module) -> AnyEngine:
    """Return an evaluator that computes loss and accuracy."""
    evaluator = create_supervised_evaluator(model, {"accuracy": MulticlassAccuracy(10, average="micro")})
    attach_mean_loss(evaluator, cross_entropy)
    return evaluator


def stop_in_time(trainer: AnyEngine, evaluator: AnyEngine) -> None:
    """End a run that diverges, no longer improves or takes too long."""
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TimeLimit(600))
    EarlyStopping(3, lambda engine: engine.state.metrics["accuracy"], trainer).attach(evaluator)


def watch(trainer: AnyEngine, evaluator: AnyEngine, optimizer: torch.optim.Optimizer, folder: Path) -> History:
    """Attach the progress bars and the loggers; return the history."""
    ProgressBar(running_average=0.9).attach(trainer, output_transform=lambda loss: {"loss": loss})
    ProgressBar("Validation", persist=False).attach(evaluator)
    history = History(folder / "history.jsonl")
    history.attach(trainer, tag="train")
    history.attach(
        evaluator, Events.COMPLETED, tag="validation", global_step_transform=global_step_from_engine(trainer)
    )
    CSVLogger(folder / "log.csv").attach(
        trainer, Events.ITERATION_COMPLETED(every=5), output_transform=lambda loss: {"loss": loss},
        values=lambda engine: {"lr": optimizer.param_groups[0]["lr"]},
    )  # fmt: skip
    return history


def main() -> None:
    """Train and print where the time went."""
    parser = argparse.ArgumentParser(description="Watch a training run on scanned digits.")
    parser.add_argument("--folder", type=Path, default=Path("watched"), help="where to write (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="passes over the digits (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # faster for such a small model
    torch.manual_seed(0)
    training, validation = make_loaders()
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters())
    trainer = create_supervised_trainer(model, optimizer, cross_entropy, deterministic=True)
    attach_mean_loss(trainer)
    evaluator = make_evaluator(model)

    found = lr_range_test(trainer, training, model, optimizer)
    print(f"suggested learning rate: {found.suggestion:.2g}")
    optimizer.param_groups[0]["lr"] = found.suggestion

    options.folder.mkdir(parents=True, exist_ok=True)
    found.plot(options.folder / "lr-range-test.png")
    steps = options.epochs * len(training)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - 20)
    average = ExponentialMovingAverage(model, decay=0.95)
    average.attach_to_evaluator(evaluator)
    average.attach(trainer)
    history = watch(trainer, evaluator, optimizer, options.folder)
    LRScheduler(with_warmup(cosine, steps=20)).attach(trainer)
    stop_in_time(trainer, evaluator)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, evaluator.run, validation)
    profiler = Profiler(first=len(training) + 1, last=3 * len(training))  # the second and the third epoch
    profiler.attach(trainer)

    trainer.run(training, max_epochs=options.epochs, seed=0)

    history.plot(options.folder / "learning-curve.png")
    profiler.write_json(options.folder / "profile.json")
    profiler.write_trace(options.folder / "trace.json")
    print(profiler.table())
    print(f"accuracy {history.rows()[-1]['validation/accuracy']:.2%}, all files are in {options.folder}")


if __name__ == "__main__":
    main()
