"""Small colour images in two processes: loaders, model, schedule, checkpoints and metrics through `ignite.distributed`.

python cifar_like.py FOLDER      writes FOLDER/cifar_like.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

import ignite.distributed as idist
from ignite.contrib.engines import common
from ignite.engine import Engine, Events, create_supervised_evaluator
from ignite.handlers import PiecewiseLinear
from ignite.metrics import Accuracy, Loss
from ignite.utils import convert_tensor, manual_seed


def dataset(seed: int, count: int) -> TensorDataset:
    """Images whose brightest channel is their class."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 3, (count,), generator=generator)
    images = torch.rand(count, 3, 8, 8, generator=generator) * 0.5
    images[torch.arange(count), targets] += 0.2
    return TensorDataset(images, targets)


def training(local_rank: int, folder: str) -> None:
    manual_seed(543)
    device = idist.device()
    train_loader = idist.auto_dataloader(dataset(1, 128), batch_size=32, shuffle=True, drop_last=True)
    val_loader = idist.auto_dataloader(dataset(2, 48), batch_size=16, shuffle=False)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    model = idist.auto_model(network)
    optimizer = idist.auto_optim(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    criterion = nn.CrossEntropyLoss().to(device)
    scheduler = PiecewiseLinear(optimizer, "lr", [(0, 0.0), (4, 0.2), (12, 0.0)])
    losses: list[float] = []

    def train_step(engine: Any, batch: Any) -> dict[str, float]:
        x, y = (convert_tensor(part, device=device, non_blocking=True) for part in batch)
        model.train()
        loss = criterion(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return {"batch loss": loss.item()}

    trainer = Engine(train_step)
    common.setup_common_training_handlers(
        trainer, train_sampler=train_loader.sampler,
        to_save={"model": model, "optimizer": optimizer, "trainer": trainer},
        save_every_iters=6, output_path=folder, lr_scheduler=scheduler, output_names=["batch loss"], with_pbars=False,
        clear_cuda_cache=False,
    )  # fmt: skip
    evaluator = create_supervised_evaluator(model, {"accuracy": Accuracy(), "loss": Loss(criterion)}, device=device)
    common.save_best_model_by_val_score(folder, evaluator, model, "accuracy", n_saved=1, trainer=trainer, tag="test")
    history: list[Any] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: losses.append(trainer.state.output["batch loss"]))

    @trainer.on(Events.EPOCH_COMPLETED | Events.COMPLETED)
    def validate() -> None:
        metrics = evaluator.run(val_loader).metrics
        history.append([trainer.state.epoch, metrics["accuracy"], metrics["loss"]])

    trainer.run(train_loader, max_epochs=3)
    answers = {
        "losses": idist.all_gather(losses),
        "history": history,
        "weights": [float(value.sum()) for value in network.state_dict().values()],
        "average": idist.all_reduce(losses[-1]),
    }
    idist.barrier()
    if idist.get_rank() == 0:
        answers["files"] = sorted(file.name for file in Path(folder).glob("*.pt"))
        Path(folder, "cifar_like.json").write_text(json.dumps(answers))


def main(folder: Path) -> dict[str, Any]:
    """Train in two processes, and return what the first one saw."""
    with idist.Parallel(backend="gloo", nproc_per_node=2) as parallel:
        parallel.run(training, str(folder))
    answers: dict[str, Any] = json.loads((folder / "cifar_like.json").read_text())
    return answers


if __name__ == "__main__":
    main(Path(sys.argv[1]))
