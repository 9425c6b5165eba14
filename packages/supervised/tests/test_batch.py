from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from types import MappingProxyType
from typing import NamedTuple

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from camshaft.engine import ArgumentError
from camshaft.supervised import batch_size, move_to_device, prepare_batch

# Nothing is computed on the meta device, so moving there works everywhere and shows what moved.
META = torch.device("meta")


class Pair(NamedTuple):
    left: object
    right: object


@pytest.mark.parametrize("kind", [tuple, list, lambda pair: Pair(*pair)])
def test_a_pair_is_split(kind):
    x, y = torch.zeros(2), torch.ones(2)

    split = prepare_batch(kind((x, y)))

    assert split[0] is x
    assert split[1] is y


def test_both_parts_move():
    x, y = prepare_batch((torch.zeros(2), {"label": torch.ones(2)}), device=META)

    assert x.device == META
    assert y["label"].device == META


@pytest.mark.parametrize(
    ("batch", "described"),
    [
        ((1, 2, 3), "a tuple of length 3"),
        ([torch.zeros(1)], "a list of length 1"),
        ({"x": 1, "y": 2}, "a dict of length 2"),
        (torch.zeros(2, 5), "a Tensor"),
        ("ab", "a str"),
        (None, "a NoneType"),
    ],
)
def test_what_is_no_pair_is_refused_even_if_it_could_be_unpacked(batch, described):
    with pytest.raises(ArgumentError, match=rf"`batch` must be a pair \(x, y\), got {described}; .*prepare_batch"):
        prepare_batch(batch)


def test_nested_values_move_in_their_own_types():
    value = {
        "list": [torch.zeros(1), "text", None, 3],
        "tuple": (torch.zeros(1),),
        "named": Pair(torch.zeros(1), b"bytes"),
        "ordered": OrderedDict(a=torch.zeros(1)),
        "proxy": MappingProxyType({"a": torch.zeros(1)}),
    }

    moved = move_to_device(value, META)

    assert moved["list"][0].device == META
    assert moved["list"][1:] == ["text", None, 3]
    assert moved["tuple"][0].device == META
    assert type(moved["named"]) is Pair
    assert moved["named"].left.device == META
    assert type(moved["ordered"]) is OrderedDict
    assert moved["ordered"]["a"].device == META
    assert type(moved["proxy"]) is MappingProxyType
    assert moved["proxy"]["a"].device == META
    assert value["list"][0].device.type == "cpu"


def test_a_default_factory_survives_the_move():
    value = defaultdict(list, a=torch.zeros(1))

    moved = move_to_device(value, META)

    assert moved["a"].device == META
    assert moved["new"] == []
    assert "new" not in value


def test_a_sequence_that_cannot_be_made_from_a_list_becomes_a_plain_one():
    class Sized(tuple):
        def __new__(cls, items, size):
            return super().__new__(cls, items)

    moved = move_to_device(Sized([torch.zeros(1)], size=1), META)

    assert type(moved) is tuple
    assert moved[0].device == META


def test_anything_with_a_to_method_moves():
    packed = pack_sequence([torch.zeros(3), torch.zeros(2)])

    moved = move_to_device(packed, META)

    assert isinstance(moved, PackedSequence)
    assert moved.data.device == META


def test_other_objects_stay_the_objects_they_are():
    value = deque([1])

    assert move_to_device(value, META) is value


def test_without_a_device_nothing_is_rebuilt():
    value = {"a": [torch.zeros(1)]}

    assert move_to_device(value, None) is value


@pytest.mark.parametrize(
    "batch",
    [
        torch.zeros(3, 2),
        (torch.zeros(3, 2), torch.zeros(3)),
        {"name": "a", "image": [torch.tensor(1.0), torch.zeros(3)]},
        [{"empty": ()}, Pair(None, torch.zeros(3, 1, 1))],
    ],
)
def test_the_size_of_a_batch_is_the_first_dimension_of_its_first_tensor(batch):
    assert batch_size(batch) == 3


@pytest.mark.parametrize("batch", [None, "text", [1, 2], {}, torch.tensor(1.0)])
def test_a_batch_without_a_tensor_has_no_size(batch):
    with pytest.raises(ArgumentError, match=r"must hold a tensor of shape \(N, \*\), got a .*; pass a `batch_size`"):
        batch_size(batch)
