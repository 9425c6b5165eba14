"""Which kind some data is: by what it is, never by trying it out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from camshaft.deterministic import DeterministicEngine
from camshaft.deterministic._kinds import kind_of, require_known
from camshaft.engine import ArgumentTypeError


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(3))


class Untouchable:
    """Fails when it is drawn from, or asked for its state."""

    def __iter__(self):
        raise AssertionError("iterated")

    def state_dict(self):
        raise AssertionError("asked for its state")

    def load_state_dict(self, state):
        raise AssertionError("loaded")


class UntouchableStream(Untouchable, IterableDataset):
    pass


class SavingLoader(DataLoader):
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


class Doubling(DataLoader):
    def __iter__(self):
        return (2 * batch for batch in super().__iter__())


class Named(DataLoader):
    """Adds what has nothing to do with iterating."""

    name = "x"


class ByIndex:
    """Iterated by Python itself."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return range(3)[index]


class Rows(Sequence):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return range(3)[index]


class Reshuffling(ByIndex):
    def __iter__(self):
        return iter(torch.randperm(3).tolist())


class OddList(list):
    def __iter__(self):
        return iter(())


class OpensItself:
    def make_source(self, seed):
        raise AssertionError("made")


def wrapped(data):
    yield from data


KINDS = [
    (DataLoader(range(3)), "map-style"),
    (Named(range(3)), "map-style"),
    (SavingLoader(range(3)), "map-style"),
    (Doubling(range(3)), "loader subclass"),
    (Doubling(Stream()), "loader subclass"),
    (DataLoader(Stream()), "iterable-style"),
    (DataLoader(UntouchableStream()), "iterable-style"),
    (SavingLoader(Stream()), "iterable-style"),
    (SavingLoader(Stream(), num_workers=1), "stateful loader"),
    (Untouchable(), "stateful"),
    (OpensItself(), "declared"),
    ([1, 2], "sequence"),
    ((1, 2), "sequence"),
    (range(3), "sequence"),
    (torch.arange(3), "sequence"),
    (np.arange(3), "sequence"),
    (TensorDataset(torch.arange(3)), "sequence"),
    (ByIndex(), "sequence"),
    (Rows(), "sequence"),
    (Reshuffling(), "replayed"),
    (OddList([1]), "replayed"),
    (iter([1]), "replayed"),
    ({1: 2}, "replayed"),
    (itertools.count(), "replayed"),
    (itertools.cycle([1]), "replayed"),
    (wrapped(DataLoader(range(3))), "replayed"),
    (DataLoader, "replayed"),
]


@pytest.mark.parametrize(("data", "kind"), KINDS, ids=lambda value: value if isinstance(value, str) else None)
def test_the_kind_follows_from_what_the_data_is(data, kind):
    assert kind == kind_of(data).name


def test_a_loader_with_an_iterator_of_its_own_is_refused_unless_its_own_class_is_set_aside():
    class Forever(DataLoader):
        def __init__(self):
            super().__init__(range(3))
            self.iterator = super().__iter__()

    with pytest.raises(ValueError, match="iterator"):
        require_known(Forever())
    for data, _ in KINDS:
        require_known(data)


@pytest.mark.filterwarnings("ignore:the data has raised ArgumentTypeError")  # once more, when asked for its state
@pytest.mark.parametrize("missing", ["open", "state", "close"])
def test_a_source_that_lacks_a_method_is_refused_by_the_name_of_the_method(missing):
    class Incomplete(OpensItself):
        def __iter__(self):
            raise AssertionError("iterated")

        def make_source(self, seed):
            return SimpleNamespace(**{name: print for name in ("open", "state", "close") if name != missing})

    engine = DeterministicEngine(lambda engine, batch: None)
    with pytest.raises(ArgumentTypeError, match=rf"make_source.*Incomplete.* has no '{missing}'"):
        engine.run(Incomplete(), epoch_length=2)
