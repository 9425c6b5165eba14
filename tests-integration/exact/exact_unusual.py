"""Data that looks like something else, or that remembers something: kinds that are easily resumed wrongly."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from exact_samples import SIZE, Kind, Make, Noisy, loader, mix, noise
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic import keep_random_state, manual_seed

# ---------------------------------------------------------------------- loaders that iterate in a way of their own


class Regrouping(DataLoader[Tensor]):
    """Makes one batch of two."""

    def __iter__(self) -> Any:
        batches = super().__iter__()
        for first in batches:
            yield torch.cat([first, *itertools.islice(batches, 1)])


class Filtering(DataLoader[Tensor]):
    """Drops a batch now and then, but for the first."""

    def __iter__(self) -> Any:
        for number, batch in enumerate(super().__iter__()):
            if number == 0 or random.random() < 0.7:
                yield batch


class Echoing(DataLoader[Tensor]):
    """Gives each batch twice, with some noise."""

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            yield batch + torch.rand(1)
            yield batch + np.random.rand()


class Numbering(DataLoader[Tensor]):
    """Numbers its batches, from one pass to the next."""

    count = 0

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            self.count += 1
            yield batch + self.count / 100


# ---------------------------------------------------------------------- what is around a loader


class Wrapper:
    """Has the length and the samples of a loader, and changes its batches."""

    def __init__(self, inner: DataLoader[Tensor]) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Any:
        return self.inner.dataset[index]

    def __iter__(self) -> Iterator[Tensor]:
        for batch in self.inner:
            yield batch + torch.rand(1)


def repeated(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Go over a loader again and again."""
    while True:
        yield from batches


@keep_random_state
def cycled(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Go over a loader once, and then over what it gave: its workers start now, so they are seeded now."""
    manual_seed(5)
    return itertools.cycle(batches)


# ---------------------------------------------------------------------- what reshuffles, is told the epoch, or counts


class Reshuffling(list[Tensor]):
    """A list that comes in another order each time."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter([self[number] for number in torch.randperm(len(self)).tolist()])


class Told(Noisy):
    """Its samples depend on the epoch that it was told."""

    epoch = -1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitem__(self, index: int) -> Tensor:
        return noise(index) + self.epoch


class ToldData:
    """Its batches depend on the epoch that it was told."""

    epoch = -1

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[Tensor]:
        for number in torch.randperm(7).tolist():
            yield noise(number).unsqueeze(0) + self.epoch


class CountingEpochs(Sampler[int]):
    """Shuffles by the number of its epoch, which it counts itself."""

    def __init__(self) -> None:
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        return iter(random.Random(self.epoch).sample(range(SIZE), SIZE))

    def __len__(self) -> int:
        return SIZE


# ---------------------------------------------------------------------- generators of their own


class Mixing:
    """Collates with a generator of its own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng()

    def __call__(self, samples: list[Tensor]) -> Tensor:
        return mix(samples) + self.rng.random()


class Helped(Sampler[int]):
    """Draws from generators in a helper object, in a dict, and in a closure."""

    def __init__(self) -> None:
        self.helper = SimpleNamespace(rng=np.random.default_rng(), by_name={"python": random.Random()})
        generator = torch.Generator()
        generator.seed()
        self.draw: Callable[[], list[int]] = lambda: torch.randperm(SIZE, generator=generator).tolist()

    def __iter__(self) -> Iterator[int]:
        order = self.helper.rng.permutation(SIZE)
        shift = self.helper.by_name["python"].randrange(SIZE)
        for index in self.draw():
            yield int(order[(index + shift) % SIZE])

    def __len__(self) -> int:
        return SIZE


# ---------------------------------------------------------------------- the kinds


def around(wrap: Any) -> Make:
    """Return what makes something around a shuffling loader."""
    make = loader(shuffle=True)
    return lambda workers: wrap(make(workers))


def on_ranks(count: int, samples: int = 22, global_batch: int = 8) -> Make:
    """Return what makes the loader of the first of some ranks, which share the samples and the batch of a step."""
    return loader(
        lambda: Noisy(samples),
        batch_size=global_batch // count,
        sampler=lambda: DistributedSampler(Noisy(samples), num_replicas=count, rank=0, seed=3),
    )


def _twice(dataset: Dataset[Tensor]) -> Dataset[Tensor]:
    return Subset(dataset, [index for index in range(12) for _ in range(2)])


UNUSUAL: dict[str, Kind] = {
    "regrouping loader": Kind(loader(kind=Regrouping, shuffle=True)),
    "filtering loader": Kind(loader(kind=Filtering, shuffle=True), has_end=False),
    "echoing loader": Kind(loader(kind=Echoing, shuffle=True)),
    "numbering loader": Kind(loader(kind=Numbering, shuffle=True)),
    "wrapper with items": Kind(around(Wrapper), workers="same"),
    "cycle of a loader": Kind(around(cycled), workers="same", has_end=False),
    "chain of loaders": Kind(around(lambda inner: itertools.chain(*[inner] * 9)), workers="same", has_end=False),
    "generator over a loader": Kind(around(repeated), workers="same", has_end=False),
    "reshuffling list": Kind(lambda workers: Reshuffling([row[None] for row in torch.eye(5)] * 2), workers="none"),
    "data set told the epoch": Kind(loader(Told, shuffle=True)),
    "data told the epoch": Kind(lambda workers: ToldData(), workers="none"),
    "sampler that counts epochs": Kind(loader(sampler=CountingEpochs)),
    "sampler with helpers": Kind(loader(sampler=Helped)),
    "collating with a generator": Kind(lambda workers: loader(shuffle=True, collate_fn=Mixing())(workers)),
    "every index twice": Kind(loader(lambda: _twice(Noisy()), shuffle=True)),
    "twice in a batch": Kind(loader(batch_sampler=lambda: [[1, 1, 2, 2], [3, 3], [1, 3, 1], [4, 4, 4]])),
    "22 samples on 2 ranks": Kind(on_ranks(2)),
    "22 samples on 4 ranks": Kind(on_ranks(4)),
}
