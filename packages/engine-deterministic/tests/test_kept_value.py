"""Values that are kept in a form that loads safely, and given back."""

from __future__ import annotations

import io
import itertools
from collections import deque

import numpy as np
import pytest
import torch

from camshaft.deterministic._difference import find_difference
from camshaft.deterministic._kept_value import NotKept, give_back, keep, put_into, token_of

VALUES = {
    "plain": [1, 2.5, True, None, "text", float("inf"), 2**70],
    "long list": list(range(1000)),
    "long list of great numbers": [2**64, *range(100)],
    "list of bools": [True] * 100,
    "nested": {"a": [(1, (2, 3)), {4}], 5: deque([1, 2], maxlen=4), (6, 7): frozenset({8})},
    "tensors": [torch.rand(3), torch.zeros(2, 0), torch.tensor(1, dtype=torch.bfloat16), torch.rand(4, 4).t()],
    "arrays": [np.arange(6).reshape(2, 3), np.array(1.5), np.zeros((0, 2)), np.float32(2), np.array(["a", "bc"])],
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_given_back_as_it_was(name):
    buffer = io.BytesIO()
    torch.save(keep(VALUES[name]), buffer)
    buffer.seek(0)
    again = give_back(torch.load(buffer, weights_only=True))
    assert type(again) is type(VALUES[name])
    assert find_difference(VALUES[name], again, "") is None


def test_a_count_goes_on_where_it_stands():
    counts = itertools.count(3), itertools.count(0.5, 2)
    next(counts[0]), next(counts[1])
    assert [next(give_back(keep(each))) for each in counts] == [4, 2.5]


def test_what_is_kept_does_not_change_with_the_value():
    value = {"a": [1], "b": np.zeros(2), "c": torch.zeros(2)}
    kept = keep(value)
    value["a"].append(2)
    value["b"] += 1
    value["c"] += 1
    assert find_difference({"a": [1], "b": np.zeros(2), "c": torch.zeros(2)}, give_back(kept), "") is None


@pytest.mark.parametrize("value", [object(), [object()], iter([]), np.array([None]), bytearray(3), torch.zeros(2**22)])
def test_other_values_and_very_long_ones_are_not_kept(value):
    with pytest.raises(NotKept):
        keep(value)


def test_a_value_that_holds_itself_is_not_kept():
    value = []
    value.append(value)
    with pytest.raises(NotKept):
        keep(value)


@pytest.mark.parametrize(
    ("value", "other"),
    [
        ([1, 2], [3]), ({1: 2}, {3: 4}), ({1}, {2}), (deque([1]), deque([2, 3])), (np.zeros(2), np.ones(2)),
        (torch.zeros(2, requires_grad=True), torch.ones(2)),
    ],
)  # fmt: skip
def test_a_value_is_put_into_a_collection_in_place(value, other):
    before = token_of(value)
    assert put_into(value, keep(other))
    assert find_difference(other, value.detach() if isinstance(value, torch.Tensor) else value, "") is None
    assert token_of(value) != before


@pytest.mark.parametrize(("value", "other"), [((1,), (2,)), (np.zeros(2), np.zeros(3)), ([1], (1,)), (3, 4)])
def test_a_value_of_another_type_or_shape_is_not_put_in_place(value, other):
    assert not put_into(value, keep(other))
