"""Values that are kept in a form that loads safely, and given back."""

from __future__ import annotations

import io
import itertools
from array import array
from collections import Counter, OrderedDict, UserList, defaultdict, deque, namedtuple
from datetime import datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import torch

from camshaft.deterministic._checks._difference import find_difference
from camshaft.deterministic._memory._kept_array import NotKept
from camshaft.deterministic._memory._kept_value import give_back, keep, renewed, token_of

PADDED = np.dtype([("a", "i1"), ("b", "f8", (2,))], align=True)
Point = namedtuple("Point", "x y")  # noqa: PYI024  # as people have them


class Level(Enum):
    EASY, HARD = range(2)


class Listed(list):
    """A list with a method of its own."""

    def __iter__(self):
        return iter(())


class Named(dict):
    def update(self, *args):
        raise AssertionError


class Chosen(torch.Tensor):
    pass


NOT_KEPT = [
    object(), [object()], iter([]), np.array([object()]), torch.zeros(2**22), [Level.EASY], [Point(1, 2)],
    torch.nn.Parameter(torch.zeros(2)), [torch.zeros(2, requires_grad=True)],
    torch.zeros(2, device="meta"), datetime.now(ZoneInfo("UTC")), [UserList()],
    defaultdict(lambda: defaultdict(Counter), a=defaultdict(Counter)),
]  # fmt: skip

VALUES = {
    "counter": Counter("abca"),
    "ordered dict": OrderedDict(b=1, a=OrderedDict()),
    "dict with defaults": defaultdict(list, {"a": [1], "b": []}),
    "bytes": [b"ab\0", bytearray(b"cd"), array("d", [1.5, 2]), array("i")],
    "range": [range(1, 7, 2), complex(1, -2), Fraction(1, 3), Decimal("1.10"), datetime(2020, 1, 2, 3)],
    "records": np.array([(1, (2.0, 3.0)), (4, (5.0, 6.0))], dtype=PADDED),
    "one record": np.array([(1, (2.0, 3.0))], dtype=PADDED)[0],
    "dates": np.array(["2020-01-01", "2021-01-01"], dtype="M8[D]"),
    "objects": np.array([[1, "a"], [None, 2.5]], dtype=object),
    "masked": np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]),
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


@pytest.mark.parametrize("value", NOT_KEPT)
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
        (torch.zeros(2, requires_grad=True), torch.ones(2)), (Counter("a"), Counter("bb")),
        (OrderedDict(a=1, b=2), OrderedDict(b=2, c=3)), (bytearray(b"a"), bytearray(b"bc")),
        (array("i", [1]), array("i", [2, 3])), (np.zeros(2, PADDED), np.ones(2, PADDED)),
        (np.array([1, None]), np.array(["a", 2.5], dtype=object)),
        (np.ma.zeros(2), np.ma.masked_array([1.0, 2.0], mask=[0, 1])),
    ],
)  # fmt: skip
def test_a_value_is_put_into_a_collection_in_place(value, other):
    before = token_of(value)
    assert renewed(value, keep(other)) is value
    assert find_difference(other, value.detach() if isinstance(value, torch.Tensor) else value, "") is None
    assert token_of(value) != before


@pytest.mark.parametrize(("value", "other"), [((1,), (2,)), (np.zeros(2), np.zeros(3)), ([1], (1,)), (3, 4)])
def test_a_value_of_another_type_or_shape_is_not_put_in_place(value, other):
    assert renewed(value, keep(other)) is not value


@pytest.mark.parametrize(
    ("value", "other"),
    [
        (Listed([1, 2]), Listed([3])), (Named(a=1), Named(b=2)), (Chosen(torch.zeros(2)), Chosen(torch.ones(2))),
        (torch.nn.Parameter(torch.zeros(2), False), torch.nn.Parameter(torch.ones(2), False)),
        (defaultdict(lambda: 3, a=1), defaultdict(lambda: 3, b=2)),
    ],
)  # fmt: skip
def test_the_content_of_a_collection_of_a_class_of_the_users_is_put_in_place(value, other):
    before = token_of(value)
    assert before != token_of(other)
    assert renewed(value, keep(other)) is value
    assert token_of(value) == token_of(other)


def test_a_named_tuple_and_a_member_of_an_enum_become_another_of_their_class():
    assert renewed(Point(1, 2), keep(Point(3, [4]))) == Point(3, [4])
    assert isinstance(renewed(Point(1, 2), keep(Point(3, 4))), Point)
    assert renewed(Level.EASY, keep(Level.HARD)) is Level.HARD


@pytest.mark.parametrize("value", [Listed([1]), Level.HARD, Point(1, 2)])
def test_the_content_of_a_class_of_the_users_is_put_into_nothing_else(value):
    with pytest.raises(NotKept):
        renewed(None, keep(value))


def test_a_value_that_holds_itself_has_a_token():
    value = []
    value.append(value)
    assert token_of(value) == token_of(value)
