from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pytest
import torch

from camshaft.deterministic._fingerprint import Fingerprint


def text_of(batch):
    return Fingerprint(batch).text()


@dataclass
class Sample:
    x: object


def with_another_sample(batch):
    batch[200] += 1
    return batch


DIFFERENT = {
    "array": (np.arange(3), np.array([0, 1, 3])),
    "long text": ("a" * 5_000, "a" * 5_001),
    "long bytes": (bytes(10**6), b"a" + bytes(10**6 - 1)),
    "long dict": (dict.fromkeys(range(999), 1), dict.fromkeys(range(999), 2)),
    "length of a dict": (dict.fromkeys(range(999)), dict.fromkeys(range(998))),
    "type of an array": (np.arange(3, dtype=np.int32), np.arange(3, dtype=np.int64)),
    "shape of an array": (np.zeros((2, 3)), np.zeros((3, 2))),
    "array of texts": (np.array(["a", "b"]), np.array(["a", "c"])),
    "array of objects": (np.array(["a", None], dtype=object), np.array(["b", None], dtype=object)),
    "records": (np.array([(1, 2.0)], dtype="i4, f8"), np.array([(1, 3.0)], dtype="i4, f8")),
    "number of numpy": (np.float32(1), np.float32(2)),
    "long array": (np.zeros((400, 1024)), with_another_sample(np.zeros((400, 1024)))),
    "array in a dict in a list": ([{"x": np.zeros(2)}], [{"x": np.ones(2)}]),
    "masked array": (np.ma.masked_array([1, 2], mask=[0, 0]), np.ma.masked_array([1, 3], mask=[0, 0])),
    "tensor": (torch.zeros(3), torch.tensor([0.0, 0.0, 1.0])),
    "long tensor": (torch.zeros(400, 1024), with_another_sample(torch.zeros(400, 1024))),
    "bfloat16": (torch.zeros(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
    "complex tensor": (torch.zeros(2, dtype=torch.complex64), torch.full((2,), 1j)),
    "sparse tensor": (torch.eye(2).to_sparse(), (2 * torch.eye(2)).to_sparse()),
    "dataclass": (Sample(np.zeros(2)), Sample(np.ones(2))),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_batches_are_told_apart_by_their_contents(name):
    one, other = DIFFERENT[name]
    assert text_of(one) is not None
    assert text_of(one) == text_of(one)
    assert text_of(one) != text_of(other)


def test_bytes_between_the_fields_of_records_make_no_difference():
    kind = np.dtype([("a", "i1"), ("b", [("c", "i1"), ("d", "f8", (2,))])], align=True)
    texts = set()
    for filled in (0, 255):
        batch = np.full(3 * kind.itemsize, filled, dtype=np.uint8).view(kind)
        batch["a"], batch["b"]["c"], batch["b"]["d"] = 1, 2, 3
        texts.add(text_of(batch))
    assert len(texts) == 1
    batch["b"]["d"][2, 1] = 4
    assert text_of(batch) not in texts


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 2 has them")
def test_texts_of_any_length_are_read_without_a_word(capfd):
    texts = {text_of(np.array(["a" * 50 + end, "bb"], dtype=np.dtypes.StringDType())) for end in "xy"}
    assert len(texts) == 2
    assert capfd.readouterr() == ("", "")


def test_a_tensor_without_numbers_has_a_shape():
    assert text_of(torch.zeros(2, device="meta")) == text_of(torch.ones(2, device="meta")) is not None
    assert text_of(torch.zeros(2, device="meta")) != text_of(torch.zeros(3, device="meta"))


@pytest.mark.parametrize(
    "batch", [np.random.rand(64, 3, 8).transpose(2, 0, 1), torch.rand(64, 3, 8).permute(2, 0, 1)], ids=type
)
def test_how_a_batch_lies_in_memory_makes_no_difference(batch):
    assert text_of(batch) == text_of(np.ascontiguousarray(batch) if isinstance(batch, np.ndarray) else batch.clone())


CHANGES = {
    "array": (lambda: np.zeros(3), lambda batch: np.add(batch, 1, out=batch)),
    "tensor": (lambda: torch.zeros(3), lambda batch: batch.add_(1)),
    "tensor through numpy": (lambda: torch.zeros(3), lambda batch: np.add(batch.numpy(), 1, out=batch.numpy())),
    "array through torch": (lambda: np.zeros(3), lambda batch: torch.from_numpy(batch).add_(1)),
    "list": (lambda: [0, 0], lambda batch: batch.append(1)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_done_to_a_batch_afterwards_does_not_count(name):
    make, change = CHANGES[name]
    batch = make()
    taken = Fingerprint(batch)
    change(batch)
    assert text_of(make()) == taken.text()


def test_tensors_of_inference_mode_are_hashed():
    with torch.inference_mode():
        batch = torch.zeros(3)
    assert text_of(torch.zeros(3)) == text_of(batch)


def test_the_order_of_a_dict_makes_no_difference():
    assert text_of({"one": 1, "two": 2}) == text_of({"two": 2, "one": 1})
    assert text_of({"one": 1, "two": 2}) != text_of({"one": 2, "two": 1})


@pytest.mark.parametrize("make", [str, int])
def test_the_order_of_a_long_dict_makes_no_difference(make):
    forwards = {make(number): number for number in range(99)}
    assert text_of(forwards) == text_of(dict(reversed(forwards.items())))


class Decoded:
    def __init__(self, number):
        self.number = torch.tensor(number)

    @cached_property
    def picture(self):
        return self.number * torch.ones(3)


def test_what_an_object_computes_when_it_is_asked_makes_no_difference():
    seen = Decoded(1)
    assert seen.picture.sum() == 3
    assert text_of(seen) == text_of(Decoded(1))
    assert text_of(seen) != text_of(Decoded(2))


def test_objects_among_keys_and_items_count_by_their_type_only():
    assert text_of({object(): object()}) == text_of({object(): object()})


def test_a_batch_that_cannot_be_read_has_no_hash():
    class Failing(dict):
        def __getitem__(self, key):
            raise OSError("the file is away")

    assert text_of([Failing(x=1)]) is None


class Sample:
    """Holds a tensor."""

    def __init__(self, x):
        self.x = x


class Slotted:
    __slots__ = ("x",)

    def __init__(self, x):
        self.x = x


HOLDING = {
    "coo": torch.Tensor.to_sparse,
    "csr": torch.Tensor.to_sparse_csr,
    "csc": torch.Tensor.to_sparse_csc,
    "bsr": lambda x: x.to_sparse_bsr((1, 2)),
    "object": Sample,
    "object with slots": Slotted,
}


@pytest.mark.filterwarnings("ignore:Sparse CS:UserWarning")
@pytest.mark.parametrize("name", HOLDING)
def test_small_differences_in_sparse_tensors_and_in_objects_that_hold_tensors_are_told(name):
    first, second = (torch.full((40, 40), 1.0) for _ in range(2))
    second[20] += 1e-5
    texts = [Fingerprint(HOLDING[name](x)).text() for x in (first, first.clone(), second)]
    assert texts[0] == texts[1] != texts[2]
