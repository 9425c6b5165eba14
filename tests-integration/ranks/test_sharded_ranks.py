"""Two real processes train a model whose parameters are sharded over them (FSDP2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from warm_python import WarmPython

PROGRAM = Path(__file__).with_name("sharded_ranks.py")
WINDOW = 4  # of 6 batches, so that the last one is shorter


@pytest.fixture(scope="module")
def found(warm_python: WarmPython) -> dict[int, list[dict[str, Any]]]:
    """Return what one process alone has seen, and each of two."""
    ended = {size: warm_python.run_ranks(size, PROGRAM, WINDOW) for size in (1, 2)}
    assert [0, 0, 0] == [each.returncode for ranks in ended.values() for each in ranks], ended[2][0].stderr[-2000:]
    return {size: [json.loads(each.stdout) for each in ranks] for size, ranks in ended.items()}


def test_accumulated_gradients_are_clipped_by_the_norm_of_all_shards(found: dict[int, list[dict[str, Any]]]) -> None:
    (alone,), (first, second) = found[1], found[2]

    assert first["parameters"] == second["parameters"]
    for expected, value in zip(alone["parameters"], first["parameters"], strict=True):
        assert expected == [pytest.approx(row) for row in value]


def test_a_checkpoint_of_whole_models_refuses_it_in_every_process(found: dict[int, list[dict[str, Any]]]) -> None:
    assert all("of which this process has only a part" in each["refused"] for each in found[2])
    assert found[1][0]["refused"] == ""
