import hashlib
import io
import logging
import random
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from ignite.engine import _prepare_batch
from ignite.utils import (
    apply_to_tensor,
    apply_to_type,
    convert_tensor,
    hash_checkpoint,
    manual_seed,
    setup_logger,
    to_onehot,
)


class Pair(NamedTuple):
    x: Any
    y: Any


@pytest.fixture
def logger():
    """A fresh name for a logger."""
    name = "a logger of the tests"
    yield name
    logging.getLogger(name).handlers.clear()
    logging.Logger.manager.loggerDict.pop(name)


def set_up(name, **kwargs):
    stream = io.StringIO()
    made = setup_logger(name, stream=stream, format="%(levelname)s: %(message)s", **kwargs)
    made.debug("detail")
    made.info("news")
    return made, stream.getvalue()


@pytest.mark.parametrize(
    "make",
    [list, tuple, lambda items: Pair(*items), lambda items: OrderedDict(a=items[0])],
    ids=["list", "tuple", "named tuple", "mapping"],
)
def test_a_collection_keeps_its_type_and_its_tensors_move(make):
    given = make([torch.ones(1), torch.zeros(1)])
    moved = convert_tensor(given, device="meta")
    assert type(given) is type(moved)
    assert {"meta"} == {value.device.type for value in (moved.values() if isinstance(moved, dict) else moved)}


def test_without_a_device_tensors_stay_the_same():
    tensor = torch.ones(1)
    assert tensor is convert_tensor({"a": [tensor]})["a"][0]


@pytest.mark.parametrize("text", ["text", b"bytes"])
def test_strings_stay_the_same(text):
    assert text is convert_tensor(text, device="meta")


@pytest.mark.parametrize("value", [5, None, [torch.ones(1), 5]])
def test_other_objects_are_refused(value):
    with pytest.raises(TypeError, match="`x` must contain"):
        convert_tensor(value)


def test_a_function_is_applied_to_each_object_of_a_type():
    assert {"a": ["1", ("2.5", "b")]} == apply_to_type({"a": [1, (2.5, "b")]}, (int, float), str)
    assert [3] == [value.item() for value in apply_to_tensor([torch.tensor(2)], lambda tensor: tensor + 1)]


def test_classes_become_vectors():
    assert [[1, 0, 0], [0, 0, 1]] == to_onehot(torch.tensor([0, 2]), num_classes=3).tolist()


def test_classes_of_images_become_vectors_along_the_second_dimension():
    indices = torch.arange(24).reshape(2, 3, 4) % 5
    onehot = to_onehot(indices, num_classes=5)
    assert ((2, 5, 3, 4), torch.uint8) == (tuple(onehot.shape), onehot.dtype)
    assert torch.equal(indices, onehot.argmax(dim=1))


def test_all_generators_are_seeded():
    def draw():
        return torch.rand(1).item(), random.random(), np.random.rand()

    manual_seed(3)
    first = draw()
    manual_seed(3)
    assert first == draw()
    # What pytorch-ignite 0.5.5 draws after `manual_seed(3)`.
    assert pytest.approx((0.0042635, 0.2379646, 0.5507979), abs=1e-6) == first


def test_a_batch_is_anything_that_unpacks_into_two():
    assert [torch.ones(2).tolist(), torch.zeros(2).tolist()] == [
        part.tolist() for part in _prepare_batch(torch.stack([torch.ones(2), torch.zeros(2)]))
    ]
    with pytest.raises(ValueError, match="unpack"):
        _prepare_batch((1, 2, 3))


def test_a_logger_writes_from_its_level_on(logger):
    made, text = set_up(logger)
    assert ("INFO: news\n", logging.INFO, False) == (text, made.level, made.propagate)


def test_a_logger_that_is_set_up_stays_as_it_is(logger):
    set_up(logger)
    made, text = set_up(logger, level=logging.DEBUG)
    assert ("", logging.INFO, 1) == (text, made.level, len(made.handlers))


def test_a_logger_is_set_up_anew_on_demand(logger):
    set_up(logger)
    made, text = set_up(logger, level=logging.DEBUG, reset=True)
    assert ("DEBUG: detail\nINFO: news\n", 1) == (text, len(made.handlers))


def test_other_ranks_are_silent(logger):
    made, text = set_up(logger, distributed_rank=1)
    assert ("", [logging.NullHandler]) == (text, [type(handler) for handler in made.handlers])


def test_a_logger_writes_into_a_file_too(logger, tmp_path):
    file = tmp_path / "log"
    made, _ = set_up(logger, filepath=str(file))
    made.handlers[1].close()
    assert "INFO: news\n" == file.read_text()


def test_a_file_is_copied_under_its_hash(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"weights")
    copy, digest = hash_checkpoint(tmp_path / "model.pt", tmp_path / "hub")
    assert hashlib.sha256(b"weights").hexdigest() == digest
    assert (tmp_path / "hub" / f"model-{digest[:8]}.pt", b"weights") == (copy, copy.read_bytes())
