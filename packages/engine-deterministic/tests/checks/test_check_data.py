"""What `check_data` says about data that does not resume, or that it cannot take."""

from __future__ import annotations

import re

import pytest
from torch.utils.data import DataLoader

from camshaft.deterministic import DeterministicEngine
from camshaft.deterministic._kinds._sequence import SequenceData
from camshaft.deterministic.testing import check_data


class Declared:
    """Opens its own passes.

    Args:
        description: what it says that its batches depend on.
        state: what its source saves.
    """

    def __init__(self, description=None, state=None):
        self.description, self.saved = description, state

    def __iter__(self):
        return iter(range(4))

    def __len__(self):
        return 4

    def make_source(self, seed):
        return self

    def describe(self):
        return self.description

    def open(self, position):
        return iter(range(position.batch, 4))

    def state(self, position):
        return self.saved

    def close(self):
        pass


class Saving:
    """Saves some object with its place."""

    keeps_place = True

    def __len__(self):
        return 4

    def __iter__(self):
        return iter(range(4))

    def state_dict(self):
        return {"x": [object()]}

    def load_state_dict(self, state):
        pass


class Late:
    """Goes on with the first batch after each stop."""

    def __len__(self):
        return 3

    def __iter__(self):
        return ({"x": [number]} for number in range(3))

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_the_batch_and_the_pass_that_differ_are_named():
    text = "saved at ITERATION_COMPLETED after 1 iterations: batch 1 of pass 0 at ['x'][0] was 1 and is 0"
    with pytest.raises(AssertionError, match=re.escape(text)):
        check_data(Late)


def test_a_description_that_is_no_dict_is_refused_by_the_name_of_the_method():
    text = "`describe\\(\\)` of <class .*Declared'> must return a dict of strings and numbers, got 'text'"
    with pytest.raises(TypeError, match=text):
        check_data(lambda: Declared("text"))


def test_a_kind_of_data_that_describes_it_with_no_dict_is_named(monkeypatch):
    monkeypatch.setattr(SequenceData, "describe", lambda data, seeding: None)
    with pytest.raises(TypeError, match=r"`SequenceData.describe\(data, seeding\)` must return a dict .* got None"):
        check_data(lambda: [1, 2, 3])


def test_an_engine_refuses_such_a_description_too():
    engine = DeterministicEngine(lambda engine, batch: None)
    engine.run(Declared("text"))
    with pytest.raises(TypeError, match="must return a dict of strings and numbers, got 'text'"):
        engine.state_dict()


@pytest.mark.parametrize(
    ("make", "method", "place"),
    [
        (lambda: Declared({}, {"x": object()}), "`state(position)` of what `make_source(seed)` of", "['x']"),
        (lambda: Declared({"x": [object()]}), "`describe()` of", "['x'][0]"),
        (Saving, "`state_dict()` of", "['x'][0]"),
    ],
    ids=["source", "description", "stateful"],
)
def test_what_cannot_be_loaded_safely_is_refused_by_the_name_of_the_method(make, method, place):
    with pytest.raises(TypeError, match=f"^{re.escape(method)} .* must return .* got <.*at .*{re.escape(place)}$"):
        check_data(make)


@pytest.mark.parametrize("name", ["make_data", "resume_with"])
def test_data_in_place_of_what_makes_it_is_refused_with_how_to_write_it(name):
    functions = {"make_data": lambda: DataLoader(range(4)), name: DataLoader(range(4))}
    with pytest.raises(TypeError, match=f"`{name}` must be a function .* write `lambda: DataLoader"):
        check_data(**functions)
