"""Pairs of digits, equal or not, through one network; a schedule, and a metric of an output of its own form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.optim.lr_scheduler import StepLR

from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar
from ignite.metrics import Accuracy, Loss, RunningAverage


class Siamese(nn.Module):
    """The distance between the features of two images."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 1)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return self.head((self.features(first) - self.features(second)).abs()).squeeze(1)


def pairs() -> list[Any]:
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32) / 16
    y = torch.tensor(digits.target)
    generator = torch.Generator().manual_seed(5)
    first, second = torch.randint(0, 600, (2, 4000), generator=generator)
    equal = (y[first] == y[second]).float()
    chosen = torch.cat([equal.nonzero()[:300, 0], (1 - equal).nonzero()[:300, 0]])
    chosen = chosen[torch.randperm(len(chosen), generator=generator)]
    batches = zip(first[chosen].split(40), second[chosen].split(40), strict=True)
    return [(x[left], x[right], (y[left] == y[right]).float()) for left, right in batches]


def main(folder: Path) -> dict[str, Any]:
    """Train on twelve batches, test on three."""
    data = pairs()
    torch.manual_seed(2)
    model, criterion = Siamese(), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = StepLR(optimizer, step_size=2, gamma=0.7)

    def train_step(engine: Any, batch: Any) -> float:
        model.train()
        left, right, target = batch
        optimizer.zero_grad()
        loss = criterion(model(left, right), target)
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def test_step(engine: Any, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        model.eval()
        left, right, target = batch
        return model(left, right), target

    trainer, evaluator = Engine(train_step), Engine(test_step)
    RunningAverage(output_transform=lambda loss: loss).attach(trainer, "loss")
    ProgressBar().attach(trainer, ["loss"])

    def rounded(output: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        return (output[0] > 0).float(), output[1]

    Accuracy(output_transform=rounded).attach(evaluator, "accuracy")
    Loss(criterion).attach(evaluator, "loss")
    history: list[Any] = []

    @trainer.on(Events.EPOCH_COMPLETED)
    def test(engine: Any) -> None:
        metrics = evaluator.run(data[12:]).metrics
        history.append([
            engine.state.epoch, engine.state.metrics["loss"], metrics["accuracy"], metrics["loss"],
            optimizer.param_groups[0]["lr"],
        ])  # fmt: skip

    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: scheduler.step())
    trainer.run(data[:12], max_epochs=5)
    return {"history": history}
