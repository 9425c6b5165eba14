"""One example of every kind of data, for tests that go through all of them."""

from __future__ import annotations

import itertools
import os
import random

import noisy_data
import numpy as np
import pytest
import torch
from noisy_data import noise
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, Sampler, default_collate

from camshaft.engine import Position

SIZE = 11


class Noisy(noisy_data.Noisy):
    size = SIZE


class Failing(Noisy):
    """Fails once for one sample."""

    def __init__(self, failing):
        self.failing = {failing}

    def __getitem__(self, index):
        if index in self.failing:
            self.failing.remove(index)
            raise OSError("the disk is away")
        return super().__getitem__(index)


class Told(Noisy):
    """Its samples depend on the epoch that it was told."""

    epoch = None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __getitem__(self, index):
        return torch.tensor([index, self.epoch])


class Regrouping(DataLoader):
    """Two batches of torch's become one of its own; it drops some, repeats some, and numbers them."""

    def __iter__(self):
        for number, batch in enumerate(super().__iter__()):
            if number == 1:
                continue
            noisy = batch + torch.rand(1)
            yield number, noisy
            if number == 2:
                yield number, noisy


class Echoing(DataLoader):
    """Goes through its batches twice."""

    def __iter__(self):
        for _ in range(2):
            yield from super().__iter__()


class CountingLoader(DataLoader):
    """Numbers its batches, on and on."""

    count = 0

    def __iter__(self):
        for batch in super().__iter__():
            self.count += 1
            yield self.count, batch


class FetchingItself(DataLoader):
    """Has nothing to do with torch's way of fetching."""

    def __iter__(self):
        for indices in self.batch_sampler:
            yield torch.stack([self.dataset[index] for index in indices])


class Standing:
    """Stands in for a loader that it was made from, as prepared loaders do."""

    def __init__(self, loader):
        self.loader = loader

    def __iter__(self):
        return iter(self.loader)

    def __len__(self):
        return len(self.loader)

    def __getitem__(self, number):
        return self.loader.dataset[number]


class Prepared(DataLoader):
    """A loader by its class only: its constructor is not torch's."""

    def __init__(self, loader):
        self.__dict__["base"] = loader

    def __getattr__(self, name):
        return getattr(self.__dict__["base"], name)

    def __iter__(self):
        return (batch + 1 for batch in self.base)

    def __len__(self):
        return len(self.base)


class Combined:
    """Its own iterator, begun anew by `iter`; its length is an error before that."""

    def __init__(self, loaders):
        self.loaders = loaders
        self.iterators = None

    def __iter__(self):
        self.iterators = [iter(loader) for loader in self.loaders]
        return self

    def __next__(self):
        return [next(iterator) for iterator in self.iterators]

    def __len__(self):
        if self.iterators is None:
            raise RuntimeError("call iter() first")
        return min(map(len, self.loaders))


class CountingEpochs(Sampler):
    """Shuffles by the number of its epoch, which it counts by itself."""

    def __init__(self):
        self.epoch = 0

    def __iter__(self):
        self.epoch += 1
        return iter(random.Random(self.epoch).sample(range(SIZE), SIZE))

    def __len__(self):
        return SIZE


class SavingSampler(CountingEpochs):
    def state_dict(self):
        return {"epoch": [self.epoch]}

    def load_state_dict(self, state):
        (self.epoch,) = state["epoch"]


class Helped(Sampler):
    """Draws from generators in a helper, a dict and a closure."""

    def __init__(self):
        self.helper = type("Helper", (), {})()
        self.helper.rng = np.random.default_rng()
        generators = {"torch": torch.Generator()}
        generators["torch"].seed()
        self.draw = lambda: torch.randperm(SIZE, generator=generators["torch"]).tolist()

    def __iter__(self):
        order = self.helper.rng.permutation(SIZE)
        for index in self.draw():
            yield int(order[index])

    def __len__(self):
        return SIZE


class Mixing:
    """Collates with a generator of its own."""

    def __init__(self):
        self.rng = np.random.default_rng()

    def __call__(self, samples):
        return default_collate(samples) + self.rng.random()


class Stream(noisy_data.Stream):
    size = SIZE


class CountingStream(Stream):
    def __init__(self):
        self.epoch = 0

    def __iter__(self):
        self.epoch += 1
        for sample in super().__iter__():
            yield sample * self.epoch


class Keeping(noisy_data.Keeping):
    size = 5


class Restarting:
    """Begins anew whenever it is iterated but right after loading."""

    keeps_place = False

    def __init__(self):
        self.place = self.start = 0

    def __iter__(self):
        self.place, self.start = self.start, 0
        return self._rest()

    def _rest(self):
        while self.place < 5:
            self.place += 1
            yield noise(self.place)

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.start = state["place"]


class LazilyRestarting(Restarting):
    """The same, once its first batch is drawn."""

    def __iter__(self):
        self.place, self.start = self.start, 0
        yield from self._rest()


class KeepingStream(Keeping, IterableDataset):
    pass


class RestartingStream(LazilyRestarting, IterableDataset):
    pass


class Again:
    """Can be iterated again and again, and only from its start."""

    def __iter__(self):
        for index in torch.randperm(5).tolist():
            yield noise(index)


class CountingAgain:
    """The same, in an order that depends on how often it was iterated."""

    def __init__(self):
        self.epoch = 0

    def __iter__(self):
        self.epoch += 1
        return iter(torch.tensor(random.Random(self.epoch).sample(range(5), 5)))


class Reshuffling(Again):
    """Looks like a sequence, and iterates in another order."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return torch.tensor(index)


class ReshufflingList(list):
    """Draws its order when it is iterated, not with its first batch."""

    def __iter__(self):
        return iter([self[number] for number in torch.randperm(len(self)).tolist()])


class Drawing:
    """Python iterates it by index; it draws when it is asked."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return noise(range(5)[index])


class Frame:
    """A table with an index of its own, as pandas has: iterating gives names, indexing looks names up."""

    def __init__(self):
        self.columns = {"b": 1, "a": 2, "c": 3}

    def __len__(self):
        return 3

    def __iter__(self):
        return iter(self.columns)

    def __getitem__(self, name):
        return self.columns[name]


class OpensItself:
    """Any batch is a function of the seed, the pass and its number."""

    def __iter__(self):
        return self.make_source(0).open(Position())

    def make_source(self, seed):
        return CountingSource(seed)

    def describe(self):
        return {"length": 5}


class CountingSource:
    def __init__(self, seed):
        self.seed = seed

    def open(self, position):
        first = position.batch if position.pass_open else 0
        return (torch.tensor([self.seed % 97, position.data_pass, number]) for number in range(first, 5))

    def state(self, position):
        return None

    def close(self):
        pass


def forever(loader):
    while True:
        yield from loader


def numbers():
    scale = random.random()
    while True:
        yield torch.rand(2) * scale + np.random.rand()


def loader(dataset=None, kind=DataLoader, **options):
    return kind(Noisy() if dataset is None else dataset, **{"batch_size": 3, **options})


DATA = {
    "shuffled": lambda: loader(shuffle=True),
    "told dataset": lambda: loader(Told(), shuffle=True),
    "regrouping loader": lambda: loader(kind=Regrouping, shuffle=True),
    "echoing loader": lambda: loader(kind=Echoing, shuffle=True),
    "counting loader": lambda: loader(kind=CountingLoader, shuffle=True),
    "loader that fetches by itself": lambda: loader(kind=FetchingItself, shuffle=True),
    "regrouping loader of a stream": lambda: loader(Stream(), kind=Regrouping),
    "prepared loader": lambda: Prepared(loader(shuffle=True)),
    "loader in a wrapper": lambda: Standing(loader(shuffle=True)),
    "combined loaders": lambda: Combined([loader(shuffle=True), loader(shuffle=True)]),
    "sampler that counts epochs": lambda: loader(sampler=CountingEpochs()),
    "sampler that saves": lambda: loader(sampler=SavingSampler()),
    "sampler with helpers": lambda: loader(sampler=Helped()),
    "collating with a generator": lambda: loader(shuffle=True, collate_fn=Mixing()),
    "stream": lambda: loader(Stream()),
    "stream that counts epochs": lambda: loader(CountingStream()),
    "keeping stream": lambda: loader(KeepingStream()),
    "restarting stream": lambda: loader(RestartingStream()),
    "keeping data": Keeping,
    "restarting data": Restarting,
    "lazily restarting data": LazilyRestarting,
    "list": lambda: [torch.tensor(number) for number in range(5)],
    "sequence that draws": Drawing,
    "iterable": Again,
    "iterable that counts epochs": CountingAgain,
    "reshuffling sequence": Reshuffling,
    "reshuffling list": lambda: ReshufflingList(torch.arange(5)),
    "table": Frame,
    "data that opens itself": OpensItself,
}

ENDLESS = {
    "generator": numbers,
    "generator over a loader": lambda: forever(loader(shuffle=True)),
    "chain of loaders": lambda: itertools.chain(*[loader(shuffle=True)] * 4),
    "cycle of a loader": lambda: itertools.cycle(loader(shuffle=True)),
}


def shuffling_nodes():
    """Draws its order from the generators of the process when it is iterated, and looks one item ahead."""
    nodes = pytest.importorskip("torchdata.nodes")
    order = nodes.SamplerWrapper(RandomSampler(range(9)))
    return nodes.Loader(nodes.Batcher(nodes.Mapper(order, noise), 2, drop_last=False))


def unseen_number():
    """Return a random number that no seed decides."""
    return int.from_bytes(os.urandom(4), "big")


class SecretSampler(Sampler):
    def __iter__(self):
        return iter(sorted(range(SIZE), key=lambda index: unseen_number()))

    def __len__(self):
        return SIZE
