from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic import KeyedSampler, ReproducibleBatchSampler, manual_seed, update_dataloader
from camshaft.engine import EngineError

DATA = torch.arange(20)


def first_only(samples):
    return samples[0]


def set_up(worker_id):
    random.seed(worker_id)


def batches(loader):
    return [batch.tolist() for batch in loader]


OPTIONS = {
    "num_workers": 2,
    "collate_fn": first_only,
    "pin_memory": False,
    "timeout": 30,
    "worker_init_fn": set_up,
    "multiprocessing_context": "spawn",
    "generator": torch.Generator(),
    "prefetch_factor": 5,
    "persistent_workers": True,
    "in_order": False,
}


def test_every_option_is_kept():
    loader = DataLoader(DATA, batch_size=4, shuffle=True, **OPTIONS)
    sampler = BatchSampler(SequentialSampler(DATA), 3, drop_last=True)
    updated = update_dataloader(loader, sampler)
    for name in OPTIONS:
        assert getattr(loader, name) is getattr(updated, name) or getattr(loader, name) == getattr(updated, name), name
    assert updated.multiprocessing_context.get_start_method() == "spawn"
    assert updated.batch_sampler is sampler
    assert updated.sampler is sampler.sampler
    assert updated.dataset is DATA
    assert (updated.batch_size, updated.drop_last, len(updated)) == (None, False, 6)
    assert (loader.batch_size, len(loader)) == (4, 5)


def test_batches_come_from_the_new_sampler():
    loader = DataLoader(DATA, batch_size=4, shuffle=True)
    assert batches(update_dataloader(loader, [[3, 1], [19]])) == [[3, 1], [19]]
    assert isinstance(update_dataloader(loader, [[3, 1]]).sampler, SequentialSampler)
    assert len(batches(loader)) == 5


def test_the_same_sampler_gives_the_same_batches_as_before():
    loader = DataLoader(DATA, batch_size=4, shuffle=True)
    manual_seed(3)
    expected = batches(loader), batches(loader)
    updated = update_dataloader(loader, loader.batch_sampler)
    manual_seed(3)
    assert expected == (batches(updated), batches(updated))


def test_persistent_workers_of_the_old_loader_stay_its_own():
    loader = DataLoader(DATA, batch_size=4, num_workers=1, persistent_workers=True)
    first = batches(loader)
    updated = update_dataloader(loader, [[0, 1], [2]])
    assert batches(updated) == [[0, 1], [2]]
    assert first == batches(loader)
    assert batches(updated) == [[0, 1], [2]]


def test_a_subclass_with_another_constructor_works():
    class Named(DataLoader):
        def __init__(self, name, size):
            self.name = name
            super().__init__(torch.arange(size), batch_size=2)

        def __iter__(self):
            for batch in super().__iter__():
                yield batch * 10

    updated = update_dataloader(Named("x", 4), [[3], [2]])
    assert type(updated) is Named
    assert updated.name == "x"
    assert batches(updated) == [[30], [20]]


def test_a_loader_that_holds_an_iterator_is_refused():
    class Forever(DataLoader):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.iterator = super().__iter__()

    with pytest.raises(ValueError, match="iterator") as caught:
        update_dataloader(Forever(DATA, batch_size=2), [[1]])
    assert isinstance(caught.value, EngineError)


def test_a_loader_of_single_samples_makes_batches_with_a_batch_sampler():
    loader = DataLoader(DATA, batch_size=None)
    assert batches(update_dataloader(loader, [[1, 2], [3]])) == [[1, 2], [3]]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))


@pytest.mark.parametrize(
    ("loader", "sampler", "error"),
    [
        (DATA, [[1]], TypeError),
        (DataLoader(DATA), 3, TypeError),
        (DataLoader(DATA), None, TypeError),
        (DataLoader(Stream()), [[1]], ValueError),
    ],
)
def test_what_cannot_be_updated_is_refused(loader, sampler, error):
    with pytest.raises(error, match="must"):
        update_dataloader(loader, sampler)


@pytest.mark.parametrize("start", range(6))
def test_a_start_is_used_once(start):
    inner = BatchSampler(SequentialSampler(DATA), 4, drop_last=False)
    sampler = ReproducibleBatchSampler(inner, start_iteration=start)
    assert list(inner)[start:] == list(sampler)
    assert sampler.start_iteration is None
    assert list(inner) == list(sampler)
    assert len(inner) == len(sampler)
    sampler.start_iteration = start
    assert list(inner)[start:] == list(sampler)


def test_each_iteration_draws_anew():
    sampler = ReproducibleBatchSampler(BatchSampler(RandomSampler(DATA), 4, drop_last=False))
    manual_seed(3)
    first, second = list(sampler), list(sampler)
    assert first != second
    manual_seed(3)
    assert first == list(sampler)


def test_the_batches_from_a_start_are_those_of_the_whole_iteration():
    loader = DataLoader(DATA, batch_size=4, shuffle=True, num_workers=1)
    manual_seed(3)
    whole = batches(update_dataloader(loader, ReproducibleBatchSampler(loader.batch_sampler)))
    for start in range(5):
        manual_seed(3)
        rest = update_dataloader(loader, ReproducibleBatchSampler(loader.batch_sampler, start_iteration=start))
        assert whole[start:] == batches(rest)


def test_it_has_the_attributes_of_a_batch_sampler():
    inner = BatchSampler(RandomSampler(DATA), 4, drop_last=True)
    sampler = ReproducibleBatchSampler(inner)
    assert isinstance(sampler, BatchSampler)
    assert (sampler.sampler, sampler.batch_size, sampler.drop_last) == (inner.sampler, 4, True)
    assert sampler.batch_sampler is inner


def test_batch_samplers_by_behaviour_are_taken():
    class Duck:
        def __getitem__(self, number):
            if number == 3:
                raise IndexError
            return [number, number]

        def __len__(self):
            return 3

    assert list(ReproducibleBatchSampler(Duck(), 1)) == [[1, 1], [2, 2]]
    assert list(ReproducibleBatchSampler([[1], [2]], 1)) == [[2]]


@pytest.mark.parametrize(
    "inner",
    [
        None,
        3,
        "abc",
        iter([[1]]),
        DataLoader(DATA),
        RandomSampler(DATA),
        SequentialSampler(DATA),
        SubsetRandomSampler([1]),
        WeightedRandomSampler([1.0], 1),
        DistributedSampler(DATA, num_replicas=1, rank=0),
        KeyedSampler(5),
    ],
    ids=lambda inner: type(inner).__name__,
)
def test_what_is_no_batch_sampler_is_refused(inner):
    with pytest.raises(TypeError, match="`batch_sampler` must"):
        ReproducibleBatchSampler(inner)


@pytest.mark.parametrize("start", [-1, 1.0, True, "1"])
def test_a_start_is_a_whole_number(start):
    with pytest.raises(ValueError, match="start_iteration"):
        ReproducibleBatchSampler([[1]], start)
    sampler = ReproducibleBatchSampler([[1]])
    with pytest.raises(ValueError, match="start_iteration"):
        sampler.start_iteration = start


@pytest.mark.parametrize("start", [np.int64(1), torch.tensor(1)])
def test_a_start_may_be_an_integer_of_any_kind(start):
    assert list(ReproducibleBatchSampler([[1], [2]], start)) == [[2]]
