"""Classification of scanned digits: save, stop, and resume from the last checkpoint with new objects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import Checkpoint, DiskSaver, EarlyStopping, ModelCheckpoint, global_step_from_engine
from ignite.metrics import Accuracy, ConfusionMatrix, Loss, RunningAverage


def loaders() -> tuple[Any, Any]:
    digits = load_digits()
    x = torch.tensor(digits.data, dtype=torch.float32)[:640] / 16
    y = torch.tensor(digits.target)[:640]
    train = TensorDataset(x[:512], y[:512])
    shuffled = DataLoader(train, batch_size=64, shuffle=True, generator=torch.Generator().manual_seed(1))
    return shuffled, DataLoader(TensorDataset(x[512:], y[512:]), batch_size=50)


def train(folder: Path, max_epochs: int, resume_from: Path | None = None) -> dict[str, Any]:
    train_loader, val_loader = loaders()
    torch.manual_seed(12)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.5)
    criterion = nn.CrossEntropyLoss()
    trainer = create_supervised_trainer(model, optimizer, criterion, device="cpu")
    RunningAverage(output_transform=lambda loss: loss).attach(trainer, "running_loss")
    metrics = {"accuracy": Accuracy(), "loss": Loss(criterion), "confusion": ConfusionMatrix(num_classes=10)}
    evaluator = create_supervised_evaluator(model, metrics=metrics, device="cpu")
    history: list[Any] = []

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate(engine: Any) -> None:
        state = evaluator.run(val_loader)
        history.append([
            engine.state.epoch, engine.state.iteration, engine.state.metrics["running_loss"],
            state.metrics["accuracy"], state.metrics["loss"], int(state.metrics["confusion"].trace()),
        ])  # fmt: skip

    to_save = {"model": model, "optimizer": optimizer, "trainer": trainer}
    last = Checkpoint(to_save, DiskSaver(str(folder / "last"), require_empty=False), n_saved=2)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, last)
    best = ModelCheckpoint(
        str(folder / "best"), "best", n_saved=1, require_empty=False, score_name="accuracy",
        score_function=lambda engine: engine.state.metrics["accuracy"],
        global_step_transform=global_step_from_engine(trainer),
    )  # fmt: skip
    evaluator.add_event_handler(Events.COMPLETED, best, {"model": model})
    stopping = EarlyStopping(3, lambda engine: -engine.state.metrics["loss"], trainer)
    evaluator.add_event_handler(Events.COMPLETED, stopping)
    if resume_from is not None:
        Checkpoint.load_objects(to_load=to_save, checkpoint=torch.load(resume_from, weights_only=True))
    state = trainer.run(train_loader, max_epochs=max_epochs)
    return {
        "history": history,
        "last": Path(str(last.last_checkpoint)).name,
        "best": Path(str(best.last_checkpoint)).name,
        "position": [state.epoch, state.iteration, state.max_epochs],
        "weights": [float(value.sum()) for value in model.state_dict().values()],
    }


def main(folder: Path) -> dict[str, Any]:
    """Train two epochs, then two more in what could be another process."""
    first = train(folder / "run", 2)
    second = train(folder / "run", 4, folder / "run" / "last" / first["last"])
    return {"first": first, "second": second, "files": sorted(file.name for file in (folder / "run").rglob("*.pt"))}
