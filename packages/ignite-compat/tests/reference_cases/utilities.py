"""The small functions of `ignite.utils`."""

from __future__ import annotations

import io
import logging
from typing import NamedTuple

import torch

from ignite.engine import Engine
from ignite.utils import apply_to_tensor, apply_to_type, convert_tensor, setup_logger, to_onehot
from reference_cases.tools import case, echo, raises


class Pair(NamedTuple):
    first: torch.Tensor
    second: torch.Tensor


@case
def one_hot_vectors():
    classes = torch.tensor([[0, 2], [1, 1]])
    encoded = to_onehot(classes, 3)
    return [
        to_onehot(torch.tensor([0, 2, 1]), 3), list(encoded.shape), encoded, str(encoded.dtype),
        raises(RuntimeError, to_onehot, torch.tensor([3]), 3),
    ]  # fmt: skip


@case
def nested_tensors():
    nested = {"a": [torch.ones(2), (torch.zeros(1),)], "text": "text"}
    moved = convert_tensor(nested, device="cpu", non_blocking=True)
    pair = apply_to_tensor(Pair(torch.ones(1), torch.zeros(1)), lambda value: value + 1)
    return [
        moved, type(moved["a"][1]).__name__, type(pair).__name__, [pair.first, pair.second],
        apply_to_type([1, 2, (3,)], int, lambda value: value * 2), apply_to_type("text", int, lambda value: value),
        raises(TypeError, convert_tensor, 12), raises(TypeError, convert_tensor, [12]),
        raises(TypeError, apply_to_type, [1, "x"], float, lambda value: value),
    ]  # fmt: skip


@case
def loggers_that_are_set_up():
    logging.disable(logging.NOTSET)
    stream = io.StringIO()
    first = setup_logger("of a case", level=logging.DEBUG, stream=stream, format="%(name)s %(levelname)s %(message)s")
    first.debug("one")
    second = setup_logger("of a case", stream=stream, format="%(message)s")
    second.info("two")
    second.debug("three")
    engine = Engine(echo)
    engine.logger = setup_logger("trainer", stream=stream)
    engine.run([1])
    return [
        stream.getvalue().splitlines()[:2], first is second, second.propagate, second.level, len(second.handlers),
        engine.logger.name, setup_logger("rank", distributed_rank=1).level,
    ]  # fmt: skip
