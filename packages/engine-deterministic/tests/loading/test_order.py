from __future__ import annotations

import random
import tracemalloc

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic import KeyedSampler, manual_seed
from camshaft.deterministic._loading._order import IndexedOrder, StreamedOrder, draw_order, sampler_chain

DATA = range(23)


class Shuffler(Sampler):
    """A sampler that nobody knows, drawing at its start and at each step, from three libraries."""

    def __init__(self):
        self.started = 0

    def __iter__(self):
        self.started += 1
        order = np.random.permutation(23)
        for index in order:
            yield (int(index) + random.randrange(23) + int(torch.randint(23, ()))) % 23

    def __len__(self):
        return 23


class Duck:
    """A batch sampler by its behaviour only; its batches differ in size."""

    def __iter__(self):
        left = torch.randperm(23).tolist()
        while left:
            size = random.randint(1, 5)
            yield tuple(left[:size])
            left = left[size:]

    def __len__(self):
        return 9


class Endless:
    def __iter__(self):
        while True:
            yield [random.randrange(23) for _ in range(3)]


class WithGenerators(Sampler):
    def __init__(self):
        self.generator = torch.Generator()
        self.rng = np.random.default_rng(5)

    def __iter__(self):
        yield from torch.randperm(23, generator=self.generator).tolist()
        yield from self.rng.permutation(23).tolist()

    def __len__(self):
        return 46


LOADERS = {
    "sequential": lambda: DataLoader(DATA, 4),
    "random": lambda: DataLoader(DATA, 4, shuffle=True),
    "drop last": lambda: DataLoader(DATA, 4, shuffle=True, drop_last=True),
    "own generator": lambda: DataLoader(DATA, 4, shuffle=True, generator=torch.Generator().manual_seed(3)),
    "replacement": lambda: DataLoader(DATA, 4, sampler=RandomSampler(DATA, replacement=True, num_samples=70)),
    "several rounds": lambda: DataLoader(DATA, 4, sampler=RandomSampler(DATA, num_samples=50)),
    "fewer": lambda: DataLoader(DATA, 4, sampler=RandomSampler(DATA, num_samples=10)),
    "subset": lambda: DataLoader(DATA, 4, sampler=SubsetRandomSampler([5, 3, 11, 7, 2, 13])),
    "weighted": lambda: DataLoader(DATA, 4, sampler=WeightedRandomSampler([1.0, 2.0] * 11, 30)),
    "distributed": lambda: DataLoader(DATA, 4, sampler=DistributedSampler(DATA, num_replicas=2, rank=1)),
    "keyed": lambda: DataLoader(DATA, 4, sampler=KeyedSampler(DATA)),
    "indices": lambda: DataLoader(DATA, 4, sampler=[3, 1, 4, 1, 5, 9]),
    "single": lambda: DataLoader(DATA, batch_size=None, shuffle=True),
    "single unknown": lambda: DataLoader(DATA, batch_size=None, sampler=Shuffler()),
    "unknown": lambda: DataLoader(DATA, 4, sampler=Shuffler()),
    "duck": lambda: DataLoader(DATA, batch_sampler=Duck()),
    "list of lists": lambda: DataLoader(DATA, batch_sampler=[[1, 2], [3], [4, 5, 6]]),
    "with generators": lambda: DataLoader(DATA, 4, sampler=WithGenerators()),
    "nested": lambda: DataLoader(DATA, batch_size=None, sampler=BatchSampler(RandomSampler(DATA), 4, drop_last=False)),
}
KNOWN = {
    "sequential", "random", "drop last", "own generator", "replacement", "several rounds", "fewer", "subset",
    "weighted", "distributed", "keyed", "indices", "single",
}  # fmt: skip


def batches(loader, seed=7, data_pass=0, first=0):
    return list(draw_order(loader, seed, data_pass).batches(first))


def draw():
    return random.random(), np.random.rand(), torch.rand(1).item()


@pytest.mark.parametrize("name", LOADERS)
def test_an_order_is_a_function_of_seed_and_pass(name):
    manual_seed(1)
    expected = batches(LOADERS[name](), data_pass=2)
    manual_seed(2)
    loader = LOADERS[name]()
    batches(loader, data_pass=5)
    assert expected == batches(loader, data_pass=2)


@pytest.mark.parametrize("name", sorted(LOADERS.keys() - {"sequential", "indices", "list of lists"}))
def test_passes_differ(name):
    assert batches(LOADERS[name](), data_pass=0) != batches(LOADERS[name](), data_pass=1)


@pytest.mark.parametrize("name", sorted(LOADERS.keys() - {"sequential", "indices", "list of lists", "distributed"}))
def test_seeds_differ(name):
    assert batches(LOADERS[name](), seed=0) != batches(LOADERS[name](), seed=1)


@pytest.mark.parametrize("name", LOADERS)
def test_any_batch_is_reached_without_the_ones_before(name):
    whole = batches(LOADERS[name]())
    for first in range(len(whole) + 2):
        assert whole[first:] == batches(LOADERS[name](), first=first)


@pytest.mark.parametrize("name", LOADERS)
def test_each_batch_knows_how_many_samples_come_before_it(name):
    before = 0
    for batch in batches(LOADERS[name]()):
        assert before == batch.start
        before += len(batch.indices)


@pytest.mark.parametrize("name", LOADERS)
def test_drawing_leaves_all_generators_as_they_were(name):
    loader = LOADERS[name]()
    private = WithGenerators() if name != "with generators" else loader.sampler
    manual_seed(1)
    expected = draw()
    manual_seed(1)
    batches(loader)
    batches(loader, first=2)
    assert expected == draw()
    assert torch.equal(WithGenerators().generator.get_state(), private.generator.get_state())
    assert WithGenerators().rng.bit_generator.state == private.rng.bit_generator.state


@pytest.mark.parametrize("name", LOADERS)
def test_an_order_has_the_batches_that_the_loader_has(name):
    loader = LOADERS[name]()
    order = draw_order(loader, 7, 0)
    assert isinstance(order, IndexedOrder if name in KNOWN else StreamedOrder)
    if name in KNOWN:
        assert len(loader) == order.length == len(list(order.batches(0)))
    else:
        assert order.length is None


@pytest.mark.parametrize("name", ["random", "drop last", "several rounds", "subset", "keyed", "distributed", "unknown"])
def test_batches_are_as_large_as_the_loader_makes_them(name):
    loader = LOADERS[name]()
    manual_seed(0)
    assert [len(batch) for batch in loader.batch_sampler] == [len(batch.indices) for batch in batches(loader)]


def test_a_random_order_is_one_permutation():
    indices = [index for batch in batches(LOADERS["random"]()) for index in batch.indices]
    assert list(DATA) == sorted(indices)
    assert list(DATA) != indices


def test_a_subset_gives_its_own_indices():
    indices = [index for batch in batches(LOADERS["subset"]()) for index in batch.indices]
    assert sorted(indices) == [2, 3, 5, 7, 11, 13]


def test_weights_are_respected():
    loader = DataLoader(DATA, 50, sampler=WeightedRandomSampler([0.0, 1.0, 3.0], 4000))
    indices = [index for batch in batches(loader) for index in batch.indices]
    assert set(indices) == {1, 2}
    assert 0.7 < indices.count(2) / len(indices) < 0.8


def test_the_pass_wins_over_an_epoch_set_by_hand():
    loader = LOADERS["distributed"]()
    loader.sampler.set_epoch(9)
    assert batches(LOADERS["distributed"](), data_pass=3) == batches(loader, data_pass=3)
    assert loader.sampler.epoch == 3
    other = DistributedSampler(DATA, num_replicas=2, rank=1)
    other.set_epoch(3)
    assert list(other) == [index for batch in batches(loader, data_pass=3) for index in batch.indices]


def test_an_endless_sampler_is_drawn_batch_by_batch():
    order = draw_order(DataLoader(DATA, batch_sampler=Endless()), 7, 0)
    batch = next(order.batches(100))
    assert batch.start == 300
    assert batch.indices == next(order.batches(100)).indices


def test_a_sampler_that_looks_at_the_training_is_not_drawn_ahead():
    class Follower:
        index = 0

        def __iter__(self):
            while self.index < 9:
                yield [self.index]

    follower = Follower()
    order = draw_order(DataLoader(DATA, batch_sampler=follower), 7, 0).batches(0)
    seen = []
    for batch in order:
        seen.append(batch.indices[0])
        follower.index += 3
    assert seen == [0, 3, 6]


def test_a_sampler_is_started_once_for_a_pass():
    loader = LOADERS["unknown"]()
    batches(loader, first=3)
    assert loader.sampler.started == 1


def test_subclasses_of_known_samplers_are_asked_themselves():
    class Backwards(SequentialSampler):
        def __iter__(self):
            return reversed(range(len(self.data_source)))

    loader = DataLoader(DATA, 4, sampler=Backwards(DATA))
    assert list(batches(loader)[0].indices) == [22, 21, 20, 19]


def test_a_large_random_order_holds_eight_bytes_a_sample():
    class Large:
        def __len__(self):
            return 1_000_000

    loader = DataLoader(Large(), 256, shuffle=True)
    tracemalloc.start()
    try:
        order = draw_order(loader, 7, 0)
        list(order.batches(order.length - 2))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 500_000  # Python's part: the rest is one tensor
    assert order._positions.element_size() * len(order._positions) == 8_000_000


def test_samplers_are_listed_from_the_outermost_in():
    loader = LOADERS["nested"]()
    chain = sampler_chain(loader)
    assert [BatchSampler, RandomSampler] == [type(part) for part in chain]


def test_what_an_unknown_sampler_has_drawn_is_hashed_batch_by_batch():
    order, again = (StreamedOrder(Shuffler(), 7, is_batched=False) for _ in range(2))
    batches = order.batches(0)
    for _ in range(5):
        next(batches)
    next(again.batches(4))
    assert order.drawn_hash(4) is not None
    assert order.drawn_hash(4) == again.drawn_hash(4)
    assert order.drawn_hash(3) != order.drawn_hash(4)
    assert order.drawn_hash(7) is None


def test_generators_deep_inside_a_sampler_are_seeded():
    class Helped:
        def __init__(self):
            self.helpers = {"rng": [np.random.default_rng()]}

        def __iter__(self):
            (rng,) = self.helpers["rng"]
            yield from rng.permutation(23).tolist()

    drawn = [list(StreamedOrder(Helped(), 7, is_batched=False).batches(0)) for _ in range(2)]
    assert drawn[0] == drawn[1]
