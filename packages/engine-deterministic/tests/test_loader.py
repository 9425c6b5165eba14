from __future__ import annotations

import multiprocessing
import os

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic._loader import IndexedSource, Share, SourceCache, choose_seeding, end_workers


class WithProcess(Dataset):
    """Gives the index and the process that fetched it."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return torch.tensor([index, os.getpid()])


def opened(loader, *, seed=1, data_pass=0, first=0, source=None):
    source = source or IndexedSource(loader, "sample")
    return source.open(loader, seed, data_pass, first)


def indices(iterator):
    return [batch[:, 0].tolist() for batch in iterator]


def processes(iterator):
    return {process for batch in iterator for process in batch[:, 1].tolist()}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_pass_is_opened_at_any_batch(workers, shuffle):
    loader = DataLoader(WithProcess(), 5, shuffle=shuffle, num_workers=workers)
    whole = indices(opened(DataLoader(WithProcess(), 5, shuffle=shuffle)))
    assert len(whole) == 3
    for first in range(5):
        assert whole[first:] == indices(opened(loader, first=first))


def test_persistent_workers_are_kept_from_pass_to_pass_and_given_the_new_order():
    loader = DataLoader(WithProcess(), 4, shuffle=True, num_workers=2, persistent_workers=True)
    source = IndexedSource(loader, "sample")
    used = [processes(opened(loader, source=source, data_pass=data_pass)) for data_pass in range(2)]
    assert used[0] == used[1]
    iterator = opened(loader, source=source, data_pass=2)
    next(iterator)  # left in the middle, with batches on their way
    again = indices(opened(loader, source=source, data_pass=3, first=1))
    assert again == indices(opened(DataLoader(WithProcess(), 4, shuffle=True), data_pass=3, first=1))
    end_workers(iterator)


def test_other_workers_are_started_anew_and_ended_with_the_pass():
    loader = DataLoader(WithProcess(), 4, num_workers=2)
    source = IndexedSource(loader, "sample")
    first, second = (processes(opened(loader, source=source)) for _ in range(2))
    assert not first & second
    assert multiprocessing.active_children() == []


def test_workers_are_ended_at_once_when_asked_for():
    loader = DataLoader(WithProcess(), 4, num_workers=2)
    iterator = opened(loader)
    next(iterator)
    assert len(multiprocessing.active_children()) == 2
    end_workers(iterator)
    assert multiprocessing.active_children() == []
    end_workers(iterator)
    end_workers(iter(()))
    end_workers(None)


def test_the_end_of_a_pass_is_known_without_workers():
    iterator = opened(DataLoader(WithProcess(), 4, num_workers=2), first=3)
    assert multiprocessing.active_children() == []
    assert list(iterator) == []


def test_batches_come_in_order_whatever_the_loader_says():
    loader = DataLoader(WithProcess(), 2, num_workers=2, in_order=False)
    assert [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [10, 11]] == indices(opened(loader))


def test_a_cache_keeps_the_sources_of_persistent_workers_only():
    cache = SourceCache()
    persistent = DataLoader(WithProcess(), num_workers=1, persistent_workers=True)
    plain = DataLoader(WithProcess(), num_workers=1)
    assert cache.get(persistent, "sample") is cache.get(persistent, "sample")
    assert cache.get(plain, "sample") is not cache.get(plain, "sample")
    kept = cache.get(persistent, "sample")
    cache.clear()
    assert kept is not cache.get(persistent, "sample")


def test_the_share_of_the_work_is_what_a_sampler_says():
    loader = DataLoader(WithProcess(), 4, sampler=DistributedSampler(WithProcess(), num_replicas=3, rank=2))
    assert (Share(loader).world_size, Share(loader).rank) == (3, 2)
    assert (Share([1]).world_size, Share([1]).rank) == (1, 0)


class AtOnce(WithProcess):
    def __getitems__(self, chosen):
        return [self[index] for index in chosen]


def test_seeding_is_by_sample_where_samples_are_fetched_one_by_one():
    assert choose_seeding(WithProcess(), None) == "sample"
    assert choose_seeding(AtOnce(), None) == "batch"
    assert choose_seeding(AtOnce(), "sample") == "sample"
    assert choose_seeding(WithProcess(), "batch") == "batch"
