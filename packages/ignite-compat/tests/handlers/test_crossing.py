from __future__ import annotations

import json
import shutil
from pathlib import Path

import crossing
import pytest
import torch

from camshaft.handlers import restore_latest

FILES = Path(crossing.__file__).parent / "crossing_files"
EXPECTED = json.loads((FILES / "results.json").read_text())


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(FILES, tmp_path / "files"))


def as_json(results):
    return json.loads(json.dumps(results))


@pytest.mark.parametrize("iteration", [18, 21])  # behind an epoch, and inside one
def test_a_training_goes_on_from_a_file_of_pytorch_ignite_as_if_it_had_never_stopped(folder, iteration):
    results = as_json(crossing.go_on(folder, iteration))
    assert EXPECTED["losses"][iteration:] == results["losses"]
    assert EXPECTED["rates"][iteration:] == results["rates"]
    assert EXPECTED["average"] == results["average"]
    assert EXPECTED["stopping"] == results["stopping"]
    assert EXPECTED["iteration"] == results["iteration"]


def test_the_list_of_kept_checkpoints_is_taken_over_from_a_file_of_pytorch_ignite(folder):
    assert [(18, "checkpoint_18.pt"), (21, "checkpoint_21.pt")] == crossing.go_on(folder, 21)["kept"]["_saved"]


def test_a_training_gives_the_results_of_pytorch_ignite(tmp_path):
    assert EXPECTED == as_json(crossing.write(tmp_path))


@pytest.mark.parametrize("iteration", [18, 21])
def test_a_training_goes_on_from_a_file_of_its_own(tmp_path, iteration):
    crossing.write(tmp_path)
    assert EXPECTED["losses"][iteration:] == crossing.go_on(tmp_path, iteration)["losses"]


def test_files_have_the_entries_that_pytorch_ignite_looks_for(folder, tmp_path):
    crossing.write(tmp_path)
    theirs, ours = (torch.load(each / "checkpoint_18.pt", weights_only=True) for each in (folder, tmp_path))
    assert set(theirs) == set(ours)
    for name in set(theirs) - {"checkpointer"}:
        assert set(theirs[name]) <= set(ours[name]), name


def test_the_newest_file_of_pytorch_ignite_is_restored(folder):
    training = crossing.Training(folder)
    assert "checkpoint_21.pt" == restore_latest(folder, training.objects).path.name
