"""Any one batch, fetched alone."""

from __future__ import annotations

import random

import pytest
import torch
from every_kind import (
    DATA,
    SIZE,
    Mixing,
    loader,
)
from looping import disturb, epochs_of, resumable, texts
from torch.utils.data import RandomSampler

from camshaft.deterministic import KeyedSampler
from camshaft.deterministic._checks._difference import find_difference
from camshaft.engine import ArgumentError

AT_ONCE = {
    "shuffled": lambda: loader(shuffle=True),
    "sequential": loader,
    "collating with a generator": lambda: loader(shuffle=True, collate_fn=Mixing()),
    "sampler with helpers": DATA["sampler with helpers"],
    "told dataset": DATA["told dataset"],
    "single samples": lambda: loader(batch_size=None, sampler=RandomSampler(range(SIZE))),
    "keyed": lambda: loader(sampler=KeyedSampler(SIZE)),
    "sequence that draws": DATA["sequence that draws"],
    "list": lambda: [torch.tensor(number) for number in range(5)],
    "workers": lambda: loader(shuffle=True, num_workers=1),
}


@pytest.mark.parametrize("name", AT_ONCE)
def test_any_batch_can_be_had_alone(name):
    expected = epochs_of(resumable(AT_ONCE[name]), 3)
    asked = resumable(AT_ONCE[name])
    places = [(epoch, index) for epoch in range(3) for index in range(len(expected[0]))]
    for epoch, index in random.Random(0).sample(places, len(places)):
        disturb()
        assert find_difference(expected[epoch][index], asked.batch_at(epoch, index), "") is None


@pytest.mark.parametrize("name", AT_ONCE)
def test_asking_for_a_batch_does_not_disturb_a_loop(name):
    expected = [texts(epoch) for epoch in epochs_of(resumable(AT_ONCE[name]), 2)]
    asked = resumable(AT_ONCE[name])
    seen = []
    for _ in range(2):
        seen.append([])
        for batch in asked:
            before = torch.get_rng_state()
            assert repr(asked.batch_at(asked.epoch, asked.index - 1)) == repr(batch)
            asked.batch_at(7, 1)
            assert torch.equal(before, torch.get_rng_state())
            seen[-1].append(repr(batch))
    assert seen == expected


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("stream", "iterable-style data"),
        ("regrouping loader", "loader subclass data"),
        ("keeping data", "stateful data"),
        ("iterable", "replayed data"),
        ("data that opens itself", "declared data"),
        ("sampler that saves", "SavingSampler"),
        ("sampler that counts epochs", "CountingEpochs"),
    ],
)
def test_a_batch_that_cannot_be_had_alone_is_refused_by_the_name_of_the_data(name, text):
    with pytest.raises(ArgumentError, match=text):
        resumable(DATA[name]).batch_at(0, 1)


@pytest.mark.parametrize("name", ["shuffled", "sampler with helpers", "list"])
def test_a_batch_behind_the_end_is_an_index_error(name):
    with pytest.raises(IndexError, match="`index` must be less than"):
        resumable(AT_ONCE[name]).batch_at(0, 99)


@pytest.mark.parametrize(("epoch", "index"), [(-1, 0), (0, -1), (0.5, 0), (0, None)])
def test_a_place_that_is_none_is_refused(epoch, index):
    with pytest.raises(ArgumentError, match="must be an integer of at least 0"):
        resumable().batch_at(epoch, index)
