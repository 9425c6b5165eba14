from __future__ import annotations

import pickle
import random

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, StackDataset, Subset, default_collate

from camshaft.deterministic import ResumableLoader, manual_seed
from camshaft.deterministic._loading._fetch import BatchRequest, SeededDataset, fetches_at_once, sample_seed_hooks


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


def request(indices, number=0, start=0, key=5, step=1):
    return BatchRequest(indices, 2, number, key, key + 100 + number, start, step)


def draw():
    return random.random(), np.random.rand(), np.random.randn(), torch.rand(1).item()


def fetch(indices, *, dataset=None, collate=list, seeding="sample", batched=True, **options):
    manual_seed(random.randrange(1000))
    source = SeededDataset(Noisy() if dataset is None else dataset, collate, seeding, batched)
    return source.__getitems__(request(indices, **options))


def same(first, second):
    return all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(first, second, strict=True))


def test_a_sample_depends_on_its_place_in_the_order_alone():
    first = fetch([3, 1, 4], number=0, start=5)
    second = fetch([1, 4], number=7, start=6)
    assert same(first[1:], second)
    assert not torch.equal(first[0][1:], first[1][1:])


def test_an_index_that_comes_twice_is_augmented_twice():
    first = fetch([4, 4], start=8)
    assert not torch.equal(first[0], first[1])
    assert same(first[1:], fetch([4], start=9))


def test_ranks_take_turns_in_the_places():
    alone = fetch([1, 2, 3, 4], start=8)
    ranks = [fetch(indices, start=8 + rank, step=2) for rank, indices in enumerate(([1, 3], [2, 4]))]
    assert same(alone, [ranks[0][0], ranks[1][0], ranks[0][1], ranks[1][1]])


def test_other_keys_give_other_samples():
    assert not torch.equal(fetch([3])[0], fetch([3], key=6)[0])


class Private(Dataset):
    """Draws from generators that nobody hands it."""

    def __init__(self):
        self.helpers = {"rng": np.random.default_rng()}
        self.generator = torch.Generator()

    def __getitem__(self, index):
        return self.helpers["rng"].random() + torch.rand(1, generator=self.generator).item()


class Mixing:
    def __init__(self):
        self.rng = random.Random()

    def __call__(self, samples):
        return [*samples, self.rng.random()]


@pytest.mark.parametrize("seeding", ["sample", "batch"])
def test_generators_of_the_datasets_and_of_collating_are_seeded_and_put_back(seeding):
    dataset, collate = Private(), Mixing()
    before = dataset.generator.get_state(), collate.rng.getstate()
    first = fetch([1, 2], dataset=dataset, collate=collate, seeding=seeding)
    assert first == fetch([1, 2], dataset=Private(), collate=Mixing(), seeding=seeding)
    assert len(set(first)) == 3
    assert torch.equal(before[0], dataset.generator.get_state())
    assert before[1] == collate.rng.getstate()


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
    source.__getitems__(request([1, 2, 3]))
    assert expected == draw()
    manual_seed(1)
    np.random.randn()
    with pytest.raises(LookupError):
        source.__getitems__(request([9]))
    assert expected == draw()


@pytest.mark.parametrize("seeding", ["sample", "batch"])
def test_a_failing_fetch_names_its_sample_batch_and_pass(seeding):
    with pytest.raises(LookupError, match="no ninth") as caught:
        fetch([1, 9, 2], number=6, seeding=seeding)
    (note,) = caught.value.__notes__
    assert "9" in note
    assert "batch 6" in note
    assert "pass 2" in note


def test_a_request_is_its_indices_and_survives_the_way_to_a_worker():
    sent = request([1, ("a", 2)], number=3, start=7)
    received = pickle.loads(pickle.dumps(sent))
    assert isinstance(received, BatchRequest)
    assert sent == received == [1, ("a", 2)]
    assert (received.data_pass, received.number, received.first_place, received.step) == (2, 3, 7, 1)
    assert (received.samples_key, received.batch_key) == (5, 108)


def test_the_wrapper_pickles_and_passes_attributes_through():
    source = pickle.loads(pickle.dumps(SeededDataset(Noisy(), default_collate, "sample", True)))
    assert source.note == "a data set"
    assert len(source) == 10
    assert same(fetch([1], collate=default_collate), source.__getitems__(request([1])))
    with pytest.raises(AttributeError, match="nothing"):
        _ = source.nothing


def test_what_nobody_can_reach_is_seeded_through_the_hook():
    first = fetch([3, 4], dataset=Hooked())
    assert first[0] - 3 != first[1] - 4
    assert first == fetch([3, 4], dataset=Hooked())
    assert first == fetch([3, 4], dataset=Subset(Hooked(), range(10)))
    first = fetch([3, 4], dataset=Hooked(), seeding="batch", number=1)
    assert first == fetch([3, 4], dataset=Hooked(), seeding="batch", number=1)


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


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stop_iteration_of_a_dataset_is_an_error_and_no_end(workers):
    class Ending(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return index if index < 2 else next(iter(()))

    with pytest.raises(RuntimeError, match="has raised StopIteration"):
        list(ResumableLoader(DataLoader(Ending(), num_workers=workers), 7))
