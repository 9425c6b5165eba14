"""What tests of runs share: the events of an iteration, an engine, data without a length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from camshaft.engine import Engine, Events

ITERATION = ["GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED", "ITERATION_COMPLETED"]
PER_ITERATION = [Events[name] for name in ITERATION]


def make() -> Engine[Any, Any]:
    return Engine(lambda engine, batch: batch)


class Unsized:
    """Data that can be started again and does not know its length."""

    def __init__(self, *passes: list[Any]) -> None:
        self.passes = list(passes)
        self.begun = 0

    def __iter__(self) -> Iterator[Any]:
        self.begun += 1
        return iter(self.passes[min(self.begun, len(self.passes)) - 1])
