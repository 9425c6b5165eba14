"""A run that is stopped with two processes goes on with one, and then with four: the same samples in each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ranks_started import Launcher, finished

if TYPE_CHECKING:
    from warm_python import WarmPython

Steps = dict[int, list[float]]
SIZE = 37  # divides neither by the processes nor by the batch


def steps_of(found: list[dict[str, Any]]) -> Steps:
    """Return the samples of all processes in each iteration, augmented as they were."""
    steps: Steps = {}
    for each in found:
        for iteration, samples in each["seen"]:
            steps.setdefault(iteration, []).extend(samples)
    return {iteration: sorted(samples) for iteration, samples in steps.items()}


@pytest.fixture(scope="module")
def found(warm_python: WarmPython, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what a run alone has seen, and one with 2, 1 and 4 processes in turn."""
    size, folder = ("--size", SIZE), tmp_path_factory.mktemp("elastic")
    alone = finished(Launcher(warm_python, 1).run(folder / "alone", *size))
    parts = [
        finished(Launcher(warm_python, count).run(folder / "parts", *size, *stop))
        for count, stop in ((2, ("--stop", 3)), (1, ("--stop", 7)), (4, ()))
    ]
    return {"alone": alone, "parts": parts}


def test_each_step_has_the_same_samples_and_augmentations(found: dict[str, Any]) -> None:
    steps: Steps = {}
    for part in found["parts"]:
        steps.update(steps_of(part))

    assert list(range(1, 16)) == sorted(steps)
    assert steps_of(found["alone"]) == steps


def test_all_processes_stop_at_the_same_iteration_and_go_on_from_there(found: dict[str, Any]) -> None:
    two, one, four = found["parts"]

    assert [[4, 4], [7], [15] * 4] == [[each["iteration"] for each in part] for part in (two, one, four)]
    assert [[None, None], [4], [7] * 4] == [[each["resumed"] for each in part] for part in (two, one, four)]


def test_metrics_that_were_saved_in_mid_epoch_are_merged(found: dict[str, Any]) -> None:
    expected = [row["loss"] for row in found["alone"][0]["history"]]
    losses = [row["loss"] for row in found["parts"][-1][0]["history"]]

    assert len(losses) == 3
    assert expected == pytest.approx(losses, rel=0.2)  # dropout differs from rank to rank


def test_the_parameters_are_the_same_in_all_processes(found: dict[str, Any]) -> None:
    for part in found["parts"]:
        assert len({each["parameters"] for each in part}) == 1
