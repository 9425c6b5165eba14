from __future__ import annotations

import dataclasses
import random
import re
from functools import cache
from itertools import count, cycle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, TensorDataset, default_collate

from camshaft.deterministic import check_purity, manual_seed


@dataclasses.dataclass
class Sample:
    image: torch.Tensor
    label: int


class Of(Dataset):
    """Gives what a function says."""

    def __init__(self, function, length=50):
        self.function = function
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return self.function(index)


def own_generator():
    generator = np.random.default_rng(1)
    return lambda index: {"x": [index, generator.random()]}


PURE = {
    "own generator": own_generator(),
    "tensors": lambda index: torch.rand(3) + index,
    "not a number": lambda index: (torch.tensor([float("nan"), index]), np.array([np.nan]), float("nan")),
    "bools and bfloat": lambda index: (torch.rand(3) > 0.5, torch.rand(2).bfloat16(), torch.tensor(index)),
    "nested": lambda index: {"a": [random.random(), np.random.rand(2)], "b": Sample(torch.rand(2), index)},
    "plain": lambda index: (index, "x", None, b"y"),
    "tensors in an object of Python's": lambda index: SimpleNamespace(x=torch.rand(3)),
}


@pytest.mark.parametrize("name", PURE)
def test_samples_that_depend_on_their_seed_are_pure(name):
    report = check_purity(Of(PURE[name]))
    assert report.is_pure, str(report)
    assert report.checked == 32
    assert str(report) == "pure: 32 samples came out the same twice"


def memory():
    calls = count()
    return lambda index: Sample(torch.tensor([index]), next(calls))


def reused_buffer():
    buffer = torch.zeros(1)
    return lambda index: buffer.add_(1)


def shape():
    calls = count()
    return lambda index: (torch.zeros(next(calls)),)


def kind():
    calls = count()
    return lambda index: 1.0 if next(calls) % 2 else 1


def subclass_with_attributes():
    class Boxes(torch.Tensor):
        pass

    calls = count()

    def make(index):
        boxes = torch.tensor([next(calls)]).as_subclass(Boxes)
        boxes.format = "xyxy"
        return boxes

    return make


def namespace():
    calls = count()
    return lambda index: SimpleNamespace(x=torch.tensor(next(calls)))


IMPURE = {
    subclass_with_attributes: "[0]",
    namespace: "",
    memory: ".label",
    reused_buffer: "[0]",
    shape: "[0]",
    kind: "",
}


@pytest.mark.parametrize("make", IMPURE)
def test_samples_that_depend_on_something_else_are_named(make):
    report = check_purity(Of(make()), [4, 8, 15])
    assert not report.is_pure
    assert report.checked == 3
    assert {4, 8, 15} >= {each.index for each in report.impure}
    assert IMPURE[make] == report.impure[0].where
    assert "set_sample_seed" in str(report)
    assert f"sample {report.impure[0].index}" in str(report)


def test_samples_that_differ_in_the_same_part_are_named_four_times():
    calls = count()
    lines = str(check_purity(Of(lambda index: {"x": next(calls), "y": index}))).splitlines()
    assert [line.partition(": ")[0] for line in lines[1:5]] == [f"  sample {number}" for number in (0, 1, 3, 4)]
    assert lines[5] == "  and 28 more like these"
    assert lines[6].startswith("sample: a memory")


def test_each_part_that_differs_is_named():
    calls = count()
    text = str(
        check_purity(Of(lambda index: {"x": 0 if index < 40 else next(calls), "y": 0 if index > 30 else next(calls)}))
    )
    assert "['x'] was" in text
    assert "['y'] was" in text


class Caching(Of):
    """Keeps what its function gives, up to some samples, and what is drawn in there.

    Args:
        kept: the function whose results are kept.
        augment: what is done with these each time.
        size: how many samples it keeps; those that came first go first.
    """

    def __init__(self, kept, augment, size=50):
        super().__init__(None)
        self.kept, self.augment, self.size, self.cache = kept, augment, size, {}

    def __getitem__(self, index):
        if index not in self.cache:
            while len(self.cache) >= self.size:
                del self.cache[next(iter(self.cache))]
            self.cache[index] = self.kept(index)
        return self.augment(self.cache[index])


class CachingHooked(Caching):
    def set_sample_seed(self, seed):
        self.rng = np.random.default_rng(seed)
        self.kept = lambda index: self.rng.random() + index


def unchanged(value):
    return value


def with_noise(value):
    return value + torch.rand(1) + random.random() + np.random.rand()


CACHES = {
    "of what is computed": (lambda: Caching(lambda index: torch.tensor([float(index)]), with_noise), True),
    "of what is computed, a small one": (
        lambda: Caching(lambda index: torch.tensor([float(index)]), with_noise, 5),
        True,
    ),
    "of what torch draws": (lambda: Caching(lambda index: torch.rand(1) + index, unchanged), False),
    "of what Python draws": (lambda: Caching(lambda index: random.random() + index, unchanged), False),
    "of what numpy draws": (lambda: Caching(lambda index: np.random.rand() + index, unchanged), False),
    "of what is drawn, a small one": (lambda: Caching(lambda index: torch.rand(1), unchanged, 5), False),
    "of what is drawn, augmented": (lambda: Caching(lambda index: torch.rand(1), with_noise), False),
    "of what a generator of its own draws": (lambda: Caching(own_generator(), unchanged), False),
    "of what a generator draws that the hook makes": (lambda: CachingHooked(None, unchanged), False),
    "in a function": (lambda: Of(cache(lambda index: torch.rand(1) + index)), False),
    "in a function, of what is computed": (lambda: Of(cache(lambda index: torch.ones(1) * index)), True),
}


@pytest.mark.parametrize("name", CACHES)
def test_a_cache_is_pure_if_nothing_in_it_was_drawn(name):
    make, is_pure = CACHES[name]
    report = check_purity(make())
    assert report.is_pure is is_pure, str(report)
    assert is_pure or "what it draws was numbers and then nothing" in str(report) or "augmented" in name
    again = check_purity(DataLoader(make(), 2))
    assert again.is_pure is is_pure


def test_a_cache_of_collated_batches_is_impure_if_they_were_drawn():
    drawn = cache(lambda first: torch.rand(1))
    report = check_purity(DataLoader(Of(float, 8), 2, collate_fn=lambda samples: drawn(samples[0])))
    assert {"collated batch"} == {each.kind for each in report.impure}


def test_the_hook_makes_a_private_generator_pure():
    class Hooked(Of):
        def __init__(self):
            super().__init__(lambda index: self.rng.random())

        def set_sample_seed(self, seed):
            self.rng = np.random.default_rng(seed)

    assert check_purity(Hooked()).is_pure


def test_the_first_and_the_last_sample_are_looked_at():
    seen = set()
    check_purity(Of(lambda index: seen.add(index), 1000))
    assert {0, 999} <= seen
    assert len(seen) == 32
    assert check_purity(Of(lambda index: index, 1)).checked == 1
    assert check_purity(TensorDataset(torch.arange(5))).checked == 5


def mixing_with_memory():
    calls = count()
    return lambda samples: default_collate(samples) + next(calls)


def mixing():
    return lambda samples: default_collate(samples) + torch.rand(1) + random.random()


class Reversing(Sampler):
    """Gives its indices in an order that depends on what it has given before."""

    def __init__(self, counts):
        self.orders = cycle([range(5), range(4, -1, -1)])
        self.epoch = 0
        self.counts = counts

    def __iter__(self):
        self.epoch += 1
        if self.counts:
            return iter(random.Random(self.epoch).sample(range(5), 5))
        return iter(next(self.orders))


PURE_LOADERS = {
    "torch's": {"shuffle": True},
    "collating": {"collate_fn": mixing()},
    "counting sampler": {"sampler": Reversing(counts=True)},
    "single samples": {"batch_size": None, "collate_fn": lambda sample: sample + torch.rand(1)},
}


@pytest.mark.parametrize("name", PURE_LOADERS)
def test_loaders_that_draw_from_the_generators_of_the_process_are_pure(name):
    loader = DataLoader(Of(lambda index: index + torch.rand(1), 5), **{"batch_size": 2, **PURE_LOADERS[name]})
    report = check_purity(loader)
    assert report.is_pure, str(report)
    assert report.checked > 8
    assert check_purity(loader).is_pure  # what counts stands where it stood


def test_collating_that_remembers_earlier_batches_is_named():
    report = check_purity(DataLoader(Of(float, 5), 2, collate_fn=mixing_with_memory()))
    assert [("collated batch", [0, 1])] == [(each.kind, each.index) for each in report.impure[:1]]
    assert "collate_fn" in str(report)


def test_a_sampler_that_remembers_what_nobody_saves_is_named():
    report = check_purity(DataLoader(Of(float, 5), 2, sampler=Reversing(counts=False)))
    assert {"order of the sampler, batch"} == {each.kind for each in report.impure}
    assert "state_dict()" in str(report)


def test_generators_are_left_as_they_were():
    manual_seed(3)
    expected = random.random(), np.random.rand(), torch.rand(1)
    manual_seed(3)
    check_purity(Of(PURE["nested"]))
    assert expected == (random.random(), np.random.rand(), torch.rand(1))


def test_a_data_set_without_indices_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            yield 1

    for dataset in (Stream(), iter([1])):
        with pytest.raises(TypeError, match="by index"):
            check_purity(dataset)


def test_what_makes_the_data_is_refused_with_how_to_write_it():
    with pytest.raises(TypeError, match=re.escape("call what makes it, as in `check_purity(make_data())`")):
        check_purity(lambda: Of(float))
