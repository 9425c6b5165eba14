"""What the kinds of data are made of: samples with random numbers in them, and how a kind is described."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

SIZE, BATCH_SIZE = 23, 4


def noise(index: int) -> Tensor:
    """Return a row that knows its index, with numbers of all three libraries."""
    return torch.cat([torch.tensor([index / SIZE, random.random(), np.random.rand()]), torch.rand(2)]).float()


def mix(samples: list[Tensor]) -> Tensor:
    """Collate as MixUp does, with numbers of all three libraries."""
    batch: Tensor = default_collate(samples)
    share = np.random.beta(1, 1)
    return share * batch + (1 - share) * batch[torch.randperm(len(batch))] + 0.1 * random.random()


def one_row(sample: Tensor) -> Tensor:
    """Collate a single sample."""
    return sample.unsqueeze(0) + 0.1 * torch.rand(1)


class Noisy(Dataset[Tensor]):
    def __init__(self, size: int = SIZE) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Tensor:
        return noise(index)


class Workers(NamedTuple):
    """How a loader fetches."""

    number: int = 0
    persistent: bool = False
    prefetch: int = 2
    start_method: str | None = None

    def options(self) -> dict[str, Any]:
        """Return the loader's arguments for it."""
        if not self.number:
            return {}
        return {
            "num_workers": self.number,
            "persistent_workers": self.persistent,
            "prefetch_factor": self.prefetch,
            "multiprocessing_context": self.start_method,
        }


Make = Callable[[Workers], Any]


class Kind(NamedTuple):
    """A kind of data.

    Attributes:
        make: returns it as a new process would.
        workers: "any" number may resume, the "same" one has to, or there are "none".
        has_end: False where only `epoch_length` ends an epoch.
    """

    make: Make
    workers: str = "any"
    has_end: bool = True


def loader(dataset: Any = None, batch_size: int | None = BATCH_SIZE, kind: Any = DataLoader, **options: Any) -> Make:
    """Return what makes a loader; options that are functions are called for each."""

    def make(workers: Workers) -> Any:
        own = {name: value() if callable(value) and name != "collate_fn" else value for name, value in options.items()}
        size = {} if "batch_sampler" in own else {"batch_size": batch_size}
        data = Noisy() if dataset is None else dataset()
        return kind(data, **size, **{"collate_fn": mix, **own}, **workers.options())

    return make
