"""Several processes that train together: real ones, with gloo. Rank 0 alone writes the checkpoints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[1] / "programs" / "ranks.py"
SAVED_AT = 4
KINDS = ("distributed", "keyed", "stream", "list", "iterable")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def two(folder):
    """Return what two ranks saw that were started by torchrun; the others are started without it."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [sys.executable, *launcher, str(PROGRAM), str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def launch(python, world_size, folder, *words):
    ranks = python.run_ranks(world_size, PROGRAM, folder, *words)
    assert [0] * world_size == [rank.returncode for rank in ranks], ranks[0].stderr
    return json.loads(ranks[0].stdout)


@pytest.fixture(scope="module")
def two_resumed(warm_python, folder, two):
    return launch(warm_python, 2, folder, "resume")


@pytest.fixture(scope="module")
def four_resumed(warm_python, folder, two):
    return launch(warm_python, 4, folder, "resume", "indexed")


@pytest.fixture(scope="module")
def alone(warm_python, tmp_path_factory):
    return launch(warm_python, 1, tmp_path_factory.mktemp("alone"), "indexed")


@pytest.mark.parametrize("kind", ["distributed", "keyed"])
def test_all_ranks_together_see_in_each_step_what_one_sees_alone(kind, two, alone):
    assert len(alone[kind]["steps"]) == 6
    assert alone[kind]["steps"] == two[kind]["steps"]


@pytest.mark.parametrize("kind", ["distributed", "keyed"])
def test_a_run_of_two_ranks_goes_on_with_four(kind, two, four_resumed):
    assert two[kind]["steps"][SAVED_AT:] == four_resumed[kind]["steps"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_ranks_and_no_two_steps_draw_the_same_numbers(kind, two):
    numbers = [number for steps in two[kind]["drawn"] for drawn in steps for number in drawn]
    assert len(numbers) == 2 * 3 * len(two[kind]["steps"])
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("kind", KINDS)
def test_every_rank_goes_on_exactly_from_the_checkpoint_of_the_first(kind, two, two_resumed):
    assert two[kind]["steps"][SAVED_AT:] == two_resumed[kind]["steps"]
    assert [steps[SAVED_AT:] for steps in two[kind]["drawn"]] == two_resumed[kind]["drawn"]


def test_noise_of_a_stream_differs_between_ranks(two):
    noises = [row[1:] for step in two["stream"]["steps"] for row in step]
    assert len({number for noise in noises for number in noise}) == 3 * len(noises)


def test_loaders_of_every_rank_go_on_from_what_one_of_them_has_saved(warm_python):
    ranks = warm_python.run_ranks(2, PROGRAM.with_name("loader_ranks.py"))
    assert [0, 0] == [rank.returncode for rank in ranks], ranks[1].stderr
    for rank in ranks:
        counts = json.loads(rank.stdout)
        assert len(counts) == 12
        assert min(counts.values()) > 6
