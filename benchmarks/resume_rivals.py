"""How Accelerate and Lightning resume, used as their documentation shows it: the rivals of `bench_resume.py`."""

from __future__ import annotations

import logging
import random
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.data import DataLoader


class Task(Protocol):
    """The training that every library does.

    Attributes:
        epochs: how many passes over the loader.
    """

    epochs: int

    def make(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return a fresh model and its optimizer."""

    def loader(self, workers: int) -> DataLoader[torch.Tensor]:
        """Return the shuffling loader that each process makes for itself."""

    def loss(self, model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch."""

    def digest(self, model: nn.Module) -> str:
        """Return a hash of the parameters."""


def count_with_accelerate(task: Task, workers: int) -> tuple[int, int]:
    """Return how many of all positions Accelerate resumes bitwise, and how many there are."""
    from accelerate import Accelerator
    from accelerate.utils import DataLoaderConfiguration, set_seed

    def train(save_in: Path | None, start: Path | None, done: int) -> str:
        set_seed(56)
        model, optimizer = task.make()
        config = DataLoaderConfiguration(use_seedable_sampler=True)
        accelerator = Accelerator(cpu=True, dataloader_config=config)
        prepared: Any = accelerator.prepare(model, optimizer, task.loader(workers))
        model, optimizer, loader = prepared
        if start is not None:
            accelerator.load_state(str(start))
        for epoch in range(done // len(loader), task.epochs):
            loader.set_epoch(epoch)
            skip = done % len(loader) if epoch == done // len(loader) else 0
            batches = accelerator.skip_first_batches(loader, skip) if skip else loader
            for number, batch in enumerate(batches, epoch * len(loader) + skip + 1):
                optimizer.zero_grad()
                accelerator.backward(task.loss(model, batch))
                optimizer.step()
                if save_in is not None:
                    accelerator.save_state(str(save_in / str(number)))
        return task.digest(accelerator.unwrap_model(model))

    with tempfile.TemporaryDirectory() as folder:
        whole = train(Path(folder), None, 0)
        positions = task.epochs * len(task.loader(0)) - 1
        exact = sum(train(None, Path(folder, str(done)), done) == whole for done in range(1, positions + 1))
    return exact, positions


def count_with_lightning(task: Task, workers: int) -> tuple[int, int]:
    """Return how many of all positions Lightning resumes bitwise, and how many there are."""
    import lightning

    class Module(lightning.LightningModule):  # type: ignore[misc]  # Any where it is not installed
        def __init__(self) -> None:
            super().__init__()
            self.model, self._optimizer = task.make()

        def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
            return task.loss(self.model, batch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return self._optimizer

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    def train(save_in: Path | None, start: Path | None) -> str:
        lightning.seed_everything(56, workers=True, verbose=False)
        callbacks = []
        if save_in is not None:
            saving = {"every_n_train_steps": 1, "save_top_k": -1, "filename": "{step}"}
            callbacks = [lightning.pytorch.callbacks.ModelCheckpoint(save_in, **saving)]
        trainer = lightning.Trainer(
            max_epochs=task.epochs, accelerator="cpu", devices=1, logger=False, callbacks=callbacks,
            enable_checkpointing=save_in is not None, enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        module = Module()
        trainer.fit(module, task.loader(workers), ckpt_path=None if start is None else str(start))
        return task.digest(module.model)

    with tempfile.TemporaryDirectory() as folder:
        whole = train(Path(folder), None)
        positions = task.epochs * len(task.loader(0)) - 1
        exact = sum(train(None, Path(folder, f"step={done}.ckpt")) == whole for done in range(1, positions + 1))
    return exact, positions


RIVALS: dict[str, Callable[[Task, int], tuple[int, int]]] = {
    "accelerate": count_with_accelerate,
    "lightning": count_with_lightning,
}


def count_with(name: str, task: Task, workers: int) -> tuple[int, int]:
    """Return the counts of a rival; the process's generators are left as they were."""
    saved, plain = torch.get_rng_state(), random.getstate()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return RIVALS[name](task, workers)
    finally:
        torch.set_rng_state(saved)
        random.setstate(plain)
