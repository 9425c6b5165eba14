from __future__ import annotations

from itertools import count

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from camshaft.deterministic._data import kind_of, require_known, restore_samplers, sampler_states, skip


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))


class Saving:
    def __iter__(self):
        return iter(range(3))

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class SavingLoader(DataLoader):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Sized:
    def __iter__(self):
        return iter(range(3))

    def __len__(self):
        return 3


KINDS = [
    (DataLoader(range(3)), "indexed"),
    (SavingLoader(range(3)), "indexed"),
    (DataLoader(Stream()), "stream"),
    (SavingLoader(Stream()), "stream"),
    (SavingLoader(Stream(), num_workers=1), "stateful"),
    (Saving(), "stateful"),
    ([1, 2], "sequence"),
    (range(3), "sequence"),
    (torch.arange(3), "sequence"),
    (TensorDataset(torch.arange(3)), "sequence"),
    (iter([1]), "replayed"),
    ({1: 2}, "replayed"),
    (Sized(), "replayed"),
    (count(), "replayed"),
]


@pytest.mark.parametrize(("data", "kind"), KINDS, ids=lambda value: value if isinstance(value, str) else None)
def test_data_is_opened_in_the_way_that_it_allows(data, kind):
    assert kind == kind_of(data)


def test_a_loader_with_an_iterator_of_its_own_is_refused_unless_its_own_class_is_set_aside():
    class Forever(DataLoader):
        def __init__(self):
            super().__init__(range(3))
            self.iterator = super().__iter__()

    with pytest.raises(ValueError, match="iterator"):
        require_known(Forever())
    for data, _ in KINDS:
        require_known(data)


class Stepping:
    """A sampler that saves its state."""

    def __init__(self):
        self.start = 0

    def __iter__(self):
        return iter([self.start, self.start + 1])

    def __len__(self):
        return 2

    def state_dict(self):
        return {"start": [self.start]}

    def load_state_dict(self, state):
        (self.start,) = state["start"]


def test_samplers_with_a_state_get_it_back():
    loader = DataLoader(range(9), batch_size=2, sampler=Stepping())
    loader.sampler.start = 5
    states = sampler_states(loader)
    loader.sampler.start = 7
    other = DataLoader(range(9), batch_size=2, sampler=Stepping())
    restore_samplers(other, states)
    assert other.sampler.start == 5
    assert sampler_states(DataLoader(range(9))) == {}


@pytest.mark.parametrize(("amount", "drawn"), [(0, 0), (2, 2), (3, 3), (5, 3)])
def test_skipping_tells_how_many_there_were(amount, drawn):
    iterator = iter(range(3))
    assert drawn == skip(iterator, amount)
    assert list(iterator) == list(range(3))[drawn:]
