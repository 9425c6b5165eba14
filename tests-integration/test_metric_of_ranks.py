"""A metric of torchmetrics in `to_save`, where several processes have each counted a part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torchmetrics import MeanMetric

from camshaft.engine import ArgumentTypeError, use_ranks
from camshaft.handlers import Checkpoint, DiskSaver


class Two:
    """Stands for the first of two processes."""

    rank, size = 0, 2

    def exchange(self, what: str, value: Any) -> list[Any]:
        del what
        return [value, value]


@pytest.fixture
def two() -> Iterator[None]:
    use_ranks(Two())
    yield
    use_ranks(None)


def persistent() -> MeanMetric:
    metric = MeanMetric()
    metric.persistent(True)
    return metric


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("make", [persistent, lambda: torch.nn.ModuleList([persistent()])], ids=["metric", "inside"])
def test_a_metric_that_each_of_several_processes_has_for_itself_is_refused(make: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentTypeError, match=r"got MeanMetric at \['mean'\].*attach_metrics"):
        Checkpoint({"mean": make()}, DiskSaver(tmp_path))


@pytest.mark.usefixtures("two")
def test_a_metric_that_saves_nothing_inside_a_model_is_fine(tmp_path: Path) -> None:
    model = torch.nn.Linear(1, 1)
    model.accuracy = MeanMetric()

    assert {"model": model} == Checkpoint({"model": model}, DiskSaver(tmp_path)).to_save


def test_alone_a_metric_is_saved_like_anything_else(tmp_path: Path) -> None:
    Checkpoint({"mean": persistent()}, DiskSaver(tmp_path))
