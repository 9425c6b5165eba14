"""Data of every kind that a run can be resumed over, all of it random: batches of rows of five numbers."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from exact_pipelines import PIPELINES
from exact_samples import BATCH_SIZE, SIZE, Kind, Noisy, loader, mix, noise, one_row
from exact_unusual import UNUSUAL
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    get_worker_info,
)
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic import KeyedSampler, keep_random_state, manual_seed


@keep_random_state
def fixed_rows(number: int) -> Tensor:
    """Return the rows of a batch that is the same in every process."""
    manual_seed(number)
    return noise(number).unsqueeze(0)


class AtOnce(Noisy):
    """Fetches whole batches."""

    def __getitems__(self, indices: list[int]) -> list[Tensor]:
        return [noise(index) for index in indices]


class Hooked(Noisy):
    """Draws from a generator of its own, which it lets the engine seed."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = np.random.default_rng()

    def set_sample_seed(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def __getitem__(self, index: int) -> Tensor:
        return noise(index) + float(self.generator.random())


class Stream(IterableDataset[Tensor]):
    """Shuffles through a small buffer, so it remembers what it has drawn; workers share the rows."""

    def __iter__(self) -> Iterator[Tensor]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        buffer = []
        for index in range(first, SIZE, step):
            buffer.append(noise(index))
            if len(buffer) > 3:
                yield buffer.pop(random.randrange(len(buffer)))
        yield from buffer


class SizedStream(Stream):
    def __len__(self) -> int:
        return SIZE


class SavingStream(IterableDataset[Tensor]):
    """Knows where it stands and keeps its place when it is iterated anew; begins again at its end."""

    keeps_place = True

    def __init__(self) -> None:
        self.index = 0

    def __iter__(self) -> Iterator[Tensor]:
        while self.index < SIZE:
            self.index += 1
            yield noise(self.index)
        self.index = 0

    def state_dict(self) -> dict[str, Any]:
        return {"index": self.index}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.index = state["index"]


class SavingData(SavingStream):
    """No data set but data: its batches are its own, and so is its state."""

    def __iter__(self) -> Iterator[Tensor]:
        for row in super().__iter__():
            yield row.unsqueeze(0)


class Restarting:
    """Data that saves its place, and begins anew whenever it is iterated but right after loading."""

    keeps_place = False

    def __init__(self) -> None:
        self.place = 0
        self.start = 0

    def __iter__(self) -> Iterator[Tensor]:
        self.place, self.start = self.start, 0
        return self._rest()

    def _rest(self) -> Iterator[Tensor]:
        while self.place < 6:
            self.place += 1
            yield noise(self.place).unsqueeze(0)

    def state_dict(self) -> dict[str, Any]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.start = state["place"]


class LazilyRestarting(Restarting):
    """The same, but it looks at what was loaded when its first batch is drawn."""

    def __iter__(self) -> Iterator[Tensor]:
        self.place, self.start = self.start, 0
        yield from self._rest()


class RestartingStream(LazilyRestarting, IterableDataset[Tensor]):
    """The same as a data set."""

    def _rest(self) -> Iterator[Tensor]:
        while self.place < SIZE:
            self.place += 1
            yield noise(self.place)


class Itself:
    """Its own iterator; goes back to its start whenever it is iterated."""

    def __init__(self) -> None:
        self.order: list[int] = []

    def __iter__(self) -> Itself:
        self.order = torch.randperm(7).tolist()
        return self

    def __next__(self) -> Tensor:
        if not self.order:
            raise StopIteration
        return noise(self.order.pop()).unsqueeze(0)


class Unknown(Sampler[int]):
    """A sampler with generators of its own, which nobody has seeded."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng()
        self.generator = torch.Generator()

    def __iter__(self) -> Iterator[int]:
        for index in self.rng.permutation(SIZE) + torch.randperm(SIZE, generator=self.generator).numpy():
            yield (int(index) + random.randrange(SIZE)) % SIZE

    def __len__(self) -> int:
        return SIZE


class Buckets:
    """A duck-typed batch sampler: batches of different lengths."""

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(SIZE).tolist()
        while order:
            count = random.randint(1, 5)
            yield order[:count]
            order = order[count:]


class Endless:
    """A batch sampler that never ends."""

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            yield [random.randrange(SIZE) for _ in range(3)]


class Again:
    """Can be iterated again and again, and only from its start."""

    def __iter__(self) -> Iterator[Tensor]:
        for index in torch.randperm(7).tolist():
            yield noise(index).unsqueeze(0)


def generate() -> Iterator[Tensor]:
    """Never end; draw from wherever the generators stand."""
    scale = random.random()
    while True:
        yield torch.rand(2, 5) * scale + np.random.rand()


class OwnLoader(DataLoader[Tensor]):
    """A loader whose constructor is another one, and which changes its batches."""

    def __init__(self, shift: float, **options: Any) -> None:
        super().__init__(Noisy(), BATCH_SIZE, shuffle=True, collate_fn=mix, **options)
        self.shift = shift

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            yield batch + self.shift


def _stateful_loader(*arguments: Any, **options: Any) -> Any:
    return importlib.import_module("torchdata.stateful_dataloader").StatefulDataLoader(*arguments, **options)


KINDS: dict[str, Kind] = {
    "in order": Kind(loader()),
    "shuffled": Kind(loader(shuffle=True)),
    "drop last": Kind(loader(shuffle=True, drop_last=True)),
    "own generator": Kind(loader(shuffle=True, generator=torch.Generator)),
    "with replacement": Kind(loader(sampler=lambda: RandomSampler(Noisy(), replacement=True, num_samples=30))),
    "more than there are": Kind(loader(sampler=lambda: RandomSampler(Noisy(), num_samples=30))),
    "weighted": Kind(loader(sampler=lambda: WeightedRandomSampler([1.0, 2.0] * 11, 30))),
    "subset": Kind(loader(sampler=lambda: SubsetRandomSampler(range(3, 20)))),
    "distributed": Kind(loader(sampler=lambda: DistributedSampler(Noisy(46), num_replicas=2, rank=1, seed=3))),
    "keyed": Kind(loader(sampler=lambda: KeyedSampler(Noisy()))),
    "unknown sampler": Kind(loader(sampler=Unknown)),
    "list of batches": Kind(loader(batch_sampler=lambda: [[1, 2, 3], [4], [5, 6, 1], [7, 8], [2, 9]])),
    "duck-typed batches": Kind(loader(batch_sampler=Buckets), has_end=False),
    "endless sampler": Kind(loader(batch_sampler=Endless), has_end=False),
    "single samples": Kind(loader(batch_size=None, shuffle=True, collate_fn=one_row)),
    "whole batches": Kind(loader(AtOnce, shuffle=True)),
    "hooked data set": Kind(loader(Hooked, shuffle=True)),
    "nested data sets": Kind(
        loader(lambda: ConcatDataset([Subset(Noisy(), range(11)), Subset(Hooked(), range(12))]), shuffle=True)
    ),
    "subclass": Kind(lambda workers: OwnLoader(0.5, **workers.options())),
    "stateful loader": Kind(loader(shuffle=True, kind=_stateful_loader)),
    "stream": Kind(loader(Stream), workers="same"),
    "sized stream": Kind(loader(SizedStream), workers="same"),
    "saving stream": Kind(loader(SavingStream), workers="same"),
    "restarting stream": Kind(loader(RestartingStream), workers="same"),
    "stateful loader of a stream": Kind(loader(SavingStream, kind=_stateful_loader), workers="same"),
    "saving data": Kind(lambda workers: SavingData(), workers="none"),
    "restarting data": Kind(lambda workers: Restarting(), workers="none"),
    "lazily restarting data": Kind(lambda workers: LazilyRestarting(), workers="none"),
    "list": Kind(lambda workers: [fixed_rows(number) for number in range(6)], workers="none"),
    "iterable": Kind(lambda workers: Again(), workers="none"),
    "its own iterator": Kind(lambda workers: Itself(), workers="none"),
    "generator": Kind(lambda workers: generate(), workers="none", has_end=False),
    **PIPELINES,
    **UNUSUAL,
}
