from __future__ import annotations

from itertools import count

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from camshaft.deterministic._data import (
    kind_of,
    require_known,
    restore_between,
    restore_samplers,
    sampler_states,
    skip,
)


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


class Keeping:
    """Goes on where it is, however often it is iterated."""

    def __init__(self):
        self.place = 0

    def __iter__(self):
        while self.place < 9:
            self.place += 1
            yield self.place

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


class Rewinding(Keeping):
    """The same, and begins again at its end."""

    def __iter__(self):
        yield from super().__iter__()
        self.place = 0


class Restarting(Keeping):
    """Begins anew, but for the first iteration after loading."""

    start = 0

    def __iter__(self):
        self.place, self.start = self.start, 0
        return super().__iter__()

    def load_state_dict(self, state):
        self.start = state["place"]


class LazilyRestarting(Restarting):
    """The same, once its first element is drawn."""

    def __iter__(self):
        yield from super().__iter__()


class Tensors(Keeping):
    def state_dict(self):
        return {"place": torch.tensor([self.place, 0])}

    def load_state_dict(self, state):
        self.place = int(state["place"][0])


@pytest.mark.parametrize("kind", [Keeping, Rewinding, Restarting, LazilyRestarting, Tensors])
@pytest.mark.parametrize("drawn", [0, 1, 4, 8, 9, 10])
def test_data_begins_its_next_pass_after_loading_as_it_did_without(kind, drawn):
    data = kind()
    skip(iter(data), drawn)
    state = data.state_dict()
    expected = list(data)
    again = kind()
    before = torch.get_rng_state()
    restore_between(again, state)
    assert expected == list(again)
    assert torch.equal(before, torch.get_rng_state())
