from __future__ import annotations

import pickle

import pytest
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from camshaft.deterministic import KeyedSampler, ResumeMismatch
from camshaft.deterministic._kinds import VERSION, describe
from camshaft.deterministic._mismatch import RELEASES, compare_runs, report
from camshaft.engine import EngineError, EngineWarning, StateDictError

DATA = range(24)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(DATA)


class Unsized(Dataset):
    def __getitem__(self, index):
        return index


def rank(world_size, batch_size, number=0, **options):
    sampler = DistributedSampler(DATA, num_replicas=world_size, rank=number, **options)
    return DataLoader(DATA, batch_size, sampler=sampler)


def differences(saved, present, seeding=None):
    return set(compare_runs(describe(saved, seeding), describe(present, seeding)))


SAME = {
    "loaders": lambda: DataLoader(DATA, 4, shuffle=True),
    "workers": lambda: DataLoader(DATA, 4, shuffle=True, num_workers=2, prefetch_factor=7, persistent_workers=True),
    "generator": lambda: DataLoader(DATA, 4, shuffle=True, generator=torch.Generator()),
}


@pytest.mark.parametrize("name", SAME)
def test_what_does_not_reach_the_batches_is_no_difference(name):
    assert differences(SAME["loaders"](), SAME[name]()) == set()


@pytest.mark.parametrize(
    ("present", "fields"),
    [
        (DataLoader(range(25), 4, shuffle=True), {"dataset_length", "sampler"}),
        (DataLoader(DATA, 5, shuffle=True), {"batch_size"}),
        (DataLoader(DATA, 4, shuffle=True, drop_last=True), {"drop_last"}),
        (DataLoader(DATA, 4), {"sampler"}),
        (DataLoader(DATA, 4, sampler=RandomSampler(DATA, replacement=True)), {"sampler"}),
        (DataLoader(DATA, 4, sampler=RandomSampler(DATA, num_samples=12)), {"sampler"}),
        (DataLoader(DATA, batch_sampler=[[1, 2]]), {"sampler", "batch_size"}),
        (DataLoader(DATA, None, shuffle=True), {"sampler", "batch_size"}),
        (DataLoader(Unsized(), 4, sampler=RandomSampler(DATA)), {"dataset_length"}),
    ],
)
def test_what_reaches_the_batches_is_named(present, fields):
    assert fields == differences(DataLoader(DATA, 4, shuffle=True), present)


@pytest.mark.parametrize(
    ("saved", "present"),
    [
        (WeightedRandomSampler([1.0, 2.0], 5), WeightedRandomSampler([1.0, 3.0], 5)),
        (SubsetRandomSampler([1, 2]), SubsetRandomSampler([1, 3])),
        (SubsetRandomSampler(["a"]), SubsetRandomSampler(["a", "b"])),
        (KeyedSampler(DATA, seed=1), KeyedSampler(DATA, seed=2)),
        (DistributedSampler(DATA, 1, 0, seed=1), DistributedSampler(DATA, 1, 0, seed=2)),
        (DistributedSampler(DATA, 1, 0), DistributedSampler(DATA, 1, 0, shuffle=False)),
    ],
)
def test_samplers_differ_in_what_their_order_depends_on(saved, present):
    loaders = DataLoader(DATA, 4, sampler=saved), DataLoader(DATA, 4, sampler=present)
    assert differences(*loaders) == {"sampler"}
    assert differences(loaders[0], loaders[0]) == set()


def test_seeding_by_sample_and_by_batch_differ():
    loader = DataLoader(DATA, 4)
    assert set(compare_runs(describe(loader, "sample"), describe(loader, "batch"))) == {"seeding"}
    assert compare_runs(describe(loader, None), describe(loader, "sample")) == {}


def test_a_stream_depends_on_its_workers():
    streams = [DataLoader(Stream(), 4, num_workers=count) for count in (0, 2)]
    assert differences(*streams) == {"num_workers"}


def test_other_data_differs_in_kind_and_length():
    assert differences([1, 2], [1, 2, 3]) == {"data_length"}
    assert "data" in differences([1, 2], iter([1, 2]))
    assert differences(iter([1]), (number for number in DATA)) == set()


@pytest.mark.parametrize(("world_size", "batch_size"), [(2, 4), (4, 2), (8, 1)])
def test_another_number_of_ranks_is_no_difference_where_the_global_batch_stays(world_size, batch_size):
    assert differences(rank(1, 8), rank(world_size, batch_size, world_size - 1)) == set()


def test_another_number_of_ranks_is_a_difference_where_steps_would_differ():
    assert differences(rank(1, 8), rank(2, 8)) == {"world_size", "batch_of_all_ranks"}
    assert differences(rank(1, 8), rank(2, 4), seeding="batch") == {"batch_size", "world_size"}
    assert "sampler" in differences(rank(1, 8), rank(2, 4, seed=3))


def test_keyed_sampler_is_named_where_it_would_give_all_numbers_of_ranks_the_same_steps():
    def odd(world_size, batch_size):
        return DataLoader(range(22), batch_size, sampler=DistributedSampler(range(22), world_size, 0))

    def text(saved, present, seeding=None):
        return str(ResumeMismatch(compare_runs(describe(saved, seeding), describe(present, seeding))))

    remedy = "over `KeyedSampler(dataset, num_replicas=..., rank=..., global_batch_size=n)`"
    assert remedy in text(rank(1, 8), rank(2, 8))
    assert remedy in text(odd(2, 4), odd(4, 2))
    assert remedy not in text(rank(1, 8), rank(2, 4), seeding="batch")
    assert remedy not in text(rank(2, 8), rank(2, 4))


def test_another_rank_is_no_difference():
    assert differences(rank(4, 2, 0), rank(4, 2, 3)) == set()


def test_the_environment_is_compared_by_its_parts():
    saved, present = describe(DATA, None), describe(DATA, None)
    saved["environment"] = {"torch": "1.0", "accelerator": saved["environment"]["accelerator"]}
    assert compare_runs(saved, present) == {"environment.torch": ("1.0", present["environment"]["torch"])}
    saved["environment"] = {**present["environment"], "accelerator": "cuda: something else"}
    expected = set() if torch.accelerator.is_available() else {"environment.accelerator"}
    assert expected == set(compare_runs(saved, present))


def test_the_description_is_made_of_plain_values():
    for data in (DataLoader(DATA, 4, shuffle=True), DataLoader(Stream()), [1], iter([1])):
        for value in describe(data, None).values():
            assert value is None or type(value) in (int, bool, str, dict)


def test_a_mismatch_says_what_was_and_what_is():
    mismatch = ResumeMismatch({"batch_size": (4, 5), "seed": (1, 2)})
    assert isinstance(mismatch, (StateDictError, ValueError, EngineError))
    assert "batch_size was 4 and is 5" in str(mismatch)
    assert "seed was 1 and is 2" in str(mismatch)
    copy = pickle.loads(pickle.dumps(mismatch))  # written in the same line
    assert (str(copy), copy.fields) == (str(mismatch), mismatch.fields)


def test_differences_are_raised_warned_of_or_ignored():
    with pytest.raises(ResumeMismatch):
        report({"seed": (1, 2)}, "error")
    with pytest.warns(EngineWarning, match="seed was 1 and is 2"):
        report({"seed": (1, 2)}, "warn")
    report({"seed": (1, 2)}, "ignore")
    report({}, "error")


def test_of_a_state_of_another_version_both_releases_are_named_and_nothing_else_is_compared():
    present = describe(DataLoader(DATA, 4), None)
    saved = {**describe(DataLoader(range(25), 5), None), "version": 1}

    with pytest.raises(
        ResumeMismatch, match=r"version was 1 and is 2\..*deterministic 0\.1, .* 0\.2.*End the run"
    ) as caught:
        report(compare_runs(saved, present), "error")
    assert caught.value.fields == {"version": (1, 2)}


@pytest.mark.parametrize("version", [None, 99, "2", [2]])
def test_a_state_of_an_unknown_version_is_refused(version):
    present = describe(DataLoader(DATA, 4), None)

    assert compare_runs({**present, "version": version}, present) == {"version": (version, VERSION)}
    with pytest.raises(ResumeMismatch, match="another time"):
        report({"version": (version, VERSION)}, "error")


def test_the_release_that_writes_a_version_is_known():
    assert max(RELEASES) == VERSION
