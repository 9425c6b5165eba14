from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, StackDataset, Subset, default_collate

from camshaft.deterministic import manual_seed
from camshaft.deterministic._fetch import SeededDataset, Token, fetches_at_once, sample_seed_hooks


class Noisy(Dataset):
    """Each sample: its index and a number from each library."""

    note = "a data set"

    def __len__(self):
        return 10

    def __getitem__(self, index):
        if index == 9:
            raise LookupError("no ninth")
        return torch.tensor([index, random.random(), np.random.rand(), torch.rand(1).item()])


class AtOnce(Noisy):
    def __getitems__(self, indices):
        noise = torch.rand(1)
        return [self[index] + noise for index in indices]


class Hooked(Dataset):
    """Draws from a generator of its own, seeded from outside."""

    def __init__(self):
        self.rng = np.random.default_rng()

    def __len__(self):
        return 10

    def set_sample_seed(self, seed):
        self.rng = np.random.default_rng(seed)

    def __getitem__(self, index):
        return index + self.rng.random()


def collate_with_noise(samples):
    return default_collate(samples) + torch.rand(1)


def token(indices, number=0, start=None, key=5):
    return Token(indices, 2, number, key, key + 100 + number, start)


def draw():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(1).item()


def fetch(indices, *, dataset=None, collate=list, seeding="sample", batched=True, **options):
    manual_seed(random.randrange(1000))
    source = SeededDataset(Noisy() if dataset is None else dataset, collate, seeding, batched)
    return source.__getitems__(token(indices, **options))


def same(first, second):
    return all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(first, second, strict=True))


def test_a_sample_depends_on_its_index_alone():
    first = fetch([3, 1, 4], number=0)
    second = fetch([4, 4, 3], number=7)
    assert torch.equal(first[2], second[0])
    assert torch.equal(second[0], second[1])
    assert torch.equal(first[0], second[2])
    assert not torch.equal(first[0][1:], first[1][1:])


def test_a_sample_depends_on_its_place_where_indices_repeat():
    first = fetch([4, 4], start=8)
    assert not torch.equal(first[0], first[1])
    assert same(first[1:], fetch([4], start=9))


def test_other_keys_give_other_samples():
    assert not torch.equal(fetch([3])[0], fetch([3], key=6)[0])


@pytest.mark.parametrize("index", [np.int64(3), torch.tensor(3)])
def test_an_index_of_another_kind_gives_the_same_sample(index):
    assert torch.equal(fetch([3])[0][1:], fetch([index])[0][1:])


class Named(Dataset):
    def __getitem__(self, index):
        return random.random()


def test_names_and_tuples_are_indices_too():
    first = fetch(["a", ("a", 1), 1.5, 1.5], dataset=Named())
    assert len(set(first)) == 4
    assert first[:2] == fetch(["x", "a", ("a", 1)], dataset=Named())[1:]


def test_collating_has_a_seed_of_its_own():
    first = fetch([1, 2], collate=collate_with_noise, number=3)
    assert torch.equal(first, fetch([1, 2], collate=collate_with_noise, number=3))
    assert not torch.equal(first, fetch([1, 2], collate=collate_with_noise, number=4))


def test_batch_seeding_depends_on_the_batch():
    first = fetch([1, 2, 3], seeding="batch", number=3)
    assert same(first, fetch([1, 2, 3], seeding="batch", number=3))
    assert not same(first, fetch([1, 2, 3], seeding="batch", number=4))


def test_a_data_set_that_fetches_whole_batches_is_asked_for_one_when_seeded_by_batch():
    at_once = fetch([1, 2], dataset=AtOnce(), seeding="batch")
    one_by_one = fetch([1, 2], dataset=AtOnce(), seeding="sample")
    assert not same(at_once, one_by_one)
    assert same(at_once, fetch([1, 2], dataset=AtOnce(), seeding="batch"))


@pytest.mark.parametrize("seeding", ["sample", "batch"])
def test_a_single_sample_is_converted_and_not_collated(seeding):
    sample = fetch([3], batched=False, collate=lambda sample: sample.tolist(), seeding=seeding)
    assert sample[0] == 3
    assert len(sample) == 4


@pytest.mark.parametrize("seeding", ["sample", "batch"])
def test_generators_of_the_main_process_are_left_alone(seeding):
    source = SeededDataset(Noisy(), default_collate, seeding, True)
    manual_seed(1)
    np.random.randn()
    expected = draw()
    manual_seed(1)
    np.random.randn()
    source.__getitems__(token([1, 2, 3]))
    assert expected == draw()
    manual_seed(1)
    np.random.randn()
    with pytest.raises(LookupError):
        source.__getitems__(token([9]))
    assert expected == draw()


@pytest.mark.parametrize("seeding", ["sample", "batch"])
def test_a_failing_fetch_names_its_sample_batch_and_pass(seeding):
    with pytest.raises(LookupError, match="no ninth") as caught:
        fetch([1, 9, 2], number=6, seeding=seeding)
    (note,) = caught.value.__notes__
    assert "9" in note
    assert "batch 6" in note
    assert "pass 2" in note


def test_a_token_is_its_indices_and_survives_the_way_to_a_worker():
    sent = token([1, ("a", 2)], number=3, start=7)
    received = pickle.loads(pickle.dumps(sent))
    assert isinstance(received, Token)
    assert sent == received == [1, ("a", 2)]
    assert (received.data_pass, received.number, received.start) == (2, 3, 7)
    assert (received.samples_key, received.batch_key) == (5, 108)


def test_the_wrapper_pickles_and_passes_attributes_through():
    source = pickle.loads(pickle.dumps(SeededDataset(Noisy(), default_collate, "sample", True)))
    assert source.note == "a data set"
    assert len(source) == 10
    assert same(fetch([1], collate=default_collate), source.__getitems__(token([1])))
    with pytest.raises(AttributeError, match="nothing"):
        _ = source.nothing


def test_private_generators_are_seeded_through_the_hook():
    dataset = Hooked()
    first = fetch([3, 4], dataset=dataset)
    assert first == fetch([4, 3], dataset=dataset)[::-1]
    assert first == fetch([3, 4], dataset=Subset(dataset, range(10)))
    first = fetch([3, 4], dataset=dataset, seeding="batch", number=1)
    assert first == fetch([3, 4], dataset=dataset, seeding="batch", number=1)


def test_hooks_are_found_in_data_sets_inside_data_sets():
    inner = [Hooked(), Hooked()]
    outer = Subset(ConcatDataset([*inner, Noisy()]), range(5))
    assert [each.set_sample_seed for each in inner] == sample_seed_hooks(outer)
    named = StackDataset(a=inner[0], b=Subset(inner[1], range(10)))
    assert [each.set_sample_seed for each in inner] == sample_seed_hooks(named)
    inner[0].dataset = inner[0]
    assert sample_seed_hooks(inner[0]) == [inner[0].set_sample_seed]


@pytest.mark.parametrize(
    ("dataset", "at_once"),
    [
        (Noisy(), False),
        (AtOnce(), True),
        (Subset(Noisy(), range(5)), False),
        (Subset(AtOnce(), range(5)), True),
        (Subset(Subset(AtOnce(), range(5)), range(3)), True),
        (StackDataset(Noisy(), AtOnce()), True),
        (StackDataset(a=Noisy(), b=Noisy()), False),
        ([1, 2, 3], False),
    ],
)
def test_data_sets_that_fetch_whole_batches_are_told_apart(dataset, at_once):
    assert at_once == fetches_at_once(dataset)
