from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from camshaft.deterministic import KeyedSampler
from camshaft.deterministic._loading._keyed_sampler import TABLE_SIZE, KeyedPermutation
from camshaft.deterministic._random._seeds import derive_seed

# Sizes with a table, just above it, powers of two and just beside them.
SIZES = [1, 2, 3, 100, TABLE_SIZE, TABLE_SIZE + 1, 1500, 2048, 4095, 4097]

GOLDEN = {
    (5, 1): [1, 3, 2, 4, 0],
    (1500, 7): [583, 1144, 84, 589, 1316, 1435],
    (10**9, 7): [47306512, 201023138, 535845572, 12502384, 441151536, 961898355],
}


@pytest.mark.parametrize("size", SIZES)
def test_each_index_comes_once(size):
    assert sorted(KeyedPermutation(size, 7)[0:size]) == list(range(size))


@given(st.integers(1, 5000), st.integers(0, 2**64 - 1), st.data())
def test_a_part_is_what_the_whole_has_there(size, key, data):
    order = KeyedPermutation(size, key)
    start, stop = sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size))))
    assert order[0:size][start:stop] == order[start:stop]


def test_keys_and_sizes_give_different_orders():
    orders = {tuple(KeyedPermutation(size, key)[0:20]) for size in (20, 3000, 3001) for key in range(50)}
    assert len(orders) == 150


@pytest.mark.parametrize(("size", "key"), GOLDEN)
def test_orders_are_the_same_for_ever(size, key):
    assert GOLDEN[size, key] == KeyedPermutation(size, key)[0 : min(size, 6)]


def test_one_position_can_be_asked_for():
    order = KeyedPermutation(3000, 7)
    assert order[0:3000][17] == order[17]
    assert order[2999] == order[-1]
    with pytest.raises(IndexError, match="3000"):
        order[3000]


def chi_square(counts, expected):
    return float((((counts - expected) ** 2) / expected).sum())


@pytest.mark.parametrize("size", [100, 1500, 2048, 100_003])
def test_over_keys_every_position_holds_every_index_equally_often(size):
    positions = np.array([0, 1, size // 2, size - 1])
    counts = np.zeros((len(positions), 16))
    for key in range(800):
        for row, bin_ in enumerate(KeyedPermutation(size, derive_seed(key)).at(positions) * 16 // size):
            counts[row, bin_] += 1
    widths = np.bincount(np.arange(size) * 16 // size) / size * 800
    # 15 degrees of freedom: beyond 45 once in 10,000 times.
    assert all(chi_square(row, widths) < 45 for row in counts)


def test_over_keys_two_neighbours_are_independent():
    counts = np.zeros((8, 8))
    for key in range(3200):
        first, second = KeyedPermutation(2000, derive_seed(key)).at(np.array([0, 1])) * 8 // 2000
        counts[first, second] += 1
    # 63 degrees of freedom: beyond 114 once in 10,000 times.
    assert chi_square(counts, 50) < 114


@pytest.mark.parametrize("size", [1025, 2048, 65_536, 1_000_000])
def test_neighbours_in_an_order_are_unrelated(size):
    order = np.array(KeyedPermutation(size, 11)[0:size])
    correlation = np.corrcoef(order[:-1], order[1:])[0, 1]
    assert abs(correlation) * size**0.5 < 4
    counts, _ = np.histogram((order[1:] - order[:-1]) % size, bins=32, range=(0, size))
    expected, _ = np.histogram(np.arange(1, size), bins=32, range=(0, size))
    # 31 degrees of freedom: beyond 68 once in 10,000 times.
    assert chi_square(counts, expected) < 68


def test_over_keys_an_order_has_one_fixed_point_on_average():
    fixed = [
        int((KeyedPermutation(1500, derive_seed(key)).at(np.arange(1500)) == np.arange(1500)).sum())
        for key in range(400)
    ]
    # Poisson with mean 1: standard error 0.05.
    assert abs(np.mean(fixed) - 1) < 0.2
    assert abs(np.var(fixed) - 1) < 0.4


def test_a_huge_order_is_entered_anywhere_without_being_stored():
    tracemalloc.start()
    try:
        sampler = KeyedSampler(10**11, seed=3)
        order = sampler.order(0)
        last = order[10**11 - 32 : 10**11]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(set(last)) == 32
    assert all(0 <= index < 10**11 for index in last)
    assert peak < 200_000


def test_a_sampler_with_a_seed_repeats_itself_and_changes_with_the_epoch():
    sampler = KeyedSampler(range(50), seed=3)
    first = list(sampler)
    assert first == list(sampler)
    sampler.set_epoch(1)
    assert first != list(sampler)
    assert sorted(first) == sorted(sampler)


def test_a_sampler_without_a_seed_takes_one_from_torch():
    sampler = KeyedSampler(50)
    torch.manual_seed(1)
    first, second = list(sampler), list(sampler)
    torch.manual_seed(1)
    assert first != second
    assert (first, second) == (list(sampler), list(sampler))


def test_it_is_an_ordinary_sampler():
    loader = DataLoader(torch.arange(50), batch_size=8, sampler=KeyedSampler(50, seed=3), num_workers=2)
    assert list(KeyedSampler(50, seed=3)) == torch.cat(list(loader)).tolist()


@pytest.mark.parametrize("size", [1, 9, 10, 11, 2000])
@pytest.mark.parametrize("num_replicas", [1, 2, 3])
def test_ranks_take_turns_in_one_order(size, num_replicas):
    order = KeyedPermutation(size, derive_seed(3, "keyed", 0))[0:size]
    ranks = [list(KeyedSampler(size, seed=3, num_replicas=num_replicas, rank=rank)) for rank in range(num_replicas)]
    taken = [index for turn in zip(*ranks, strict=True) for index in turn]
    assert order == taken[:size]
    assert (order * num_replicas)[: len(taken) - size] == taken[size:]
    dropping = KeyedSampler(size, seed=3, num_replicas=num_replicas, rank=num_replicas - 1, drop_last=True)
    assert ranks[-1][: size // num_replicas] == list(dropping)
    assert size // num_replicas == len(dropping)


@pytest.mark.parametrize("size", [1, 21, 22, 24, 2000])
@pytest.mark.parametrize("drop_last", [False, True])
def test_with_a_global_batch_each_step_has_the_same_samples_for_any_number_of_ranks(size, drop_last):
    def steps(num_replicas):
        options = {"seed": 3, "drop_last": drop_last, "global_batch_size": 8, "num_replicas": num_replicas}
        ranks = [list(KeyedSampler(size, rank=rank, **options)) for rank in range(num_replicas)]
        each = 8 // num_replicas
        assert {len(rank) % each for rank in ranks} == {0}
        return [
            sorted(index for rank in ranks for index in rank[start : start + each])
            for start in range(0, len(ranks[0]), each)
        ]

    alone = steps(1)
    assert len(alone) == (size // 8 if drop_last else -(-size // 8))
    assert [alone] * 3 == [steps(number) for number in (2, 4, 8)]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"data_source": 9, "num_replicas": 2, "global_batch_size": 3}, ValueError),
        ({"data_source": 9, "global_batch_size": 0}, ValueError),
        ({"data_source": 0}, ValueError),
        ({"data_source": []}, ValueError),
        ({"data_source": iter([1])}, TypeError),
        ({"data_source": True}, TypeError),
        ({"data_source": 2.0}, TypeError),
        ({"data_source": 5, "seed": True}, ValueError),
        ({"data_source": 5, "num_replicas": 1.0}, ValueError),
        ({"data_source": 5, "num_replicas": 0}, ValueError),
        ({"data_source": 5, "num_replicas": 2, "rank": 2}, ValueError),
        ({"data_source": 5, "rank": -1}, ValueError),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, error):
    with pytest.raises(error, match="must"):
        KeyedSampler(**arguments)


def test_integers_of_any_kind_are_taken():
    expected = list(KeyedSampler(5, seed=3, num_replicas=2, rank=1))
    for kind in (np.int64, torch.tensor):
        assert expected == list(KeyedSampler(kind(5), seed=kind(3), num_replicas=kind(2), rank=kind(1)))


def test_a_dataset_with_one_sample_is_not_taken_for_a_number():
    assert list(KeyedSampler(torch.tensor([7]), seed=3)) == [0]
