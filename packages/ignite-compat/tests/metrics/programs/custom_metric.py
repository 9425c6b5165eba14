"""A training script in the manner of Ignite's documentation, with a metric of one's own; writes its results as JSON.

`custom_metric.json` beside the tests was written with pytorch-ignite 0.5.5 by
    python packages/ignite-compat/tests/metrics/programs/custom_metric.py custom_metric.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.exceptions import NotComputableError
from ignite.metrics import Accuracy, Loss, Metric, Precision, Recall, RunningAverage
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce
from ignite.utils import manual_seed


class CustomAccuracy(Metric):
    """Accuracy that leaves one class out, as in Ignite's guide to metrics of one's own."""

    def __init__(self, ignored_class, output_transform=lambda x: x, device="cpu"):
        self.ignored_class = ignored_class
        self._num_correct = None
        self._num_examples = None
        super().__init__(output_transform=output_transform, device=device)

    @reinit__is_reduced
    def reset(self):
        self._num_correct = torch.tensor(0, device=self._device)
        self._num_examples = 0

    @reinit__is_reduced
    def update(self, output):
        y_pred, y = output[0].detach(), output[1].detach()
        indices = torch.argmax(y_pred, dim=1)
        mask = (y != self.ignored_class) & (indices != self.ignored_class)
        correct = torch.eq(indices[mask], y[mask]).view(-1)
        self._num_correct += torch.sum(correct).to(self._device)
        self._num_examples += correct.shape[0]

    @sync_all_reduce("_num_examples", "_num_correct:SUM")
    def compute(self):
        if self._num_examples == 0:
            raise NotComputableError("CustomAccuracy must have at least one example before it can be computed.")
        return self._num_correct.item() / self._num_examples


def loaders():
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(96, 8, generator=generator)
    classes = (features @ torch.randn(8, 4, generator=generator)).argmax(dim=1)
    train, test = TensorDataset(features[:64], classes[:64]), TensorDataset(features[64:], classes[64:])
    return DataLoader(train, batch_size=16, shuffle=True), DataLoader(test, batch_size=10)


def main(path):
    manual_seed(12)
    torch.set_num_threads(1)
    train_loader, test_loader = loaders()
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    criterion = nn.CrossEntropyLoss()
    trainer = create_supervised_trainer(model, optimizer, criterion)
    RunningAverage(output_transform=lambda x: x).attach(trainer, "loss")
    precision, recall = Precision(average=False), Recall(average=False)
    metrics = {
        "custom": CustomAccuracy(ignored_class=3),
        "accuracy": Accuracy(),
        "nll": Loss(criterion),
        "f1": (precision * recall * 2 / (precision + recall + 1e-20)).mean(),
    }
    evaluator = create_supervised_evaluator(model, metrics=metrics)
    history = []

    @trainer.on(Events.EPOCH_COMPLETED)
    def evaluate(engine):
        evaluator.run(test_loader)
        history.append({"loss": engine.state.metrics["loss"], **evaluator.state.metrics})

    trainer.run(train_loader, max_epochs=4)
    path.write_text(json.dumps(history, indent=1, default=float) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
