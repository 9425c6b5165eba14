"""Trainers over an accelerator, by one and by two processes: like those without one, and resumed bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ranks_started import Launcher, finished

if TYPE_CHECKING:
    from warm_python import WarmPython

pytest.importorskip("accelerate")
PROGRAM = Path(__file__).with_name("accelerated_job.py")
Found = list[dict[str, Any]]


@pytest.fixture(scope="module", params=[1, 2])
def found(request: pytest.FixtureRequest, warm_python: WarmPython, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each of one or two processes has found."""
    return finished(Launcher(warm_python, request.param, PROGRAM).run(tmp_path_factory.mktemp("run")))


def test_all_processes_end_with_the_same_parameters(found: Found) -> None:
    assert [found[0]] * len(found) == found


def test_it_trains_bit_for_bit_as_without_an_accelerator(found: Found) -> None:
    assert found[0]["plain"] == found[0]["ours"]["whole"]


@pytest.mark.parametrize("loader", ["ours", "theirs"])
@pytest.mark.parametrize("way", ["checkpoint", "save_state"])
def test_a_run_that_is_stopped_inside_a_window_is_resumed_bit_for_bit(found: Found, loader: str, way: str) -> None:
    assert found[0][loader]["whole"] == found[0][loader][way]


@pytest.mark.parametrize("loader", ["ours", "theirs"])
def test_gradients_are_synchronized_at_the_end_of_each_window_and_of_the_epoch(found: Found, loader: str) -> None:
    assert [False, True, False, True, True] * 2 == found[0][loader]["synchronized"]
