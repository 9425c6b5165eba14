"""Checkpoints of a sharded model, by real processes: killed at each stage, damaged, and restored by others."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from ranks_started import Launcher, finished
from sharded_job import digest

from camshaft.handlers import (
    Checkpoint,
    CheckpointDamagedError,
    CheckpointUnsafeError,
    DiskSaver,
    ShardedSaver,
    restore_latest,
    verify_checkpoint,
)
from camshaft.handlers.__main__ import main

if TYPE_CHECKING:
    from warm_python import WarmPython

PROGRAM = Path(__file__).with_name("sharded_job.py")
Found = dict[str, Any]


@pytest.fixture(scope="module")
def run(warm_python: WarmPython) -> Any:
    """Return what runs the job with some processes, and returns what the first one has seen."""

    def run(size: int, folder: Path, *options: object) -> Found:
        found = finished(Launcher(warm_python, size, PROGRAM).run(folder, *options))
        assert [found[0]["end"]] * size == [each["end"] for each in found]
        return found[0]

    return run


@pytest.fixture(scope="module")
def stopped(run: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Found]:
    """Return the folder of a run of two processes that was stopped, and how it ended."""
    folder = tmp_path_factory.mktemp("sharded") / "run"
    return folder, run(2, folder, "--stop", 5)


@pytest.fixture(scope="module")
def whole(run: Any, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Return how a run of two processes ends to which nothing happens."""
    result: Found = run(2, tmp_path_factory.mktemp("whole") / "run")
    return result


def test_one_process_restores_the_same_model_and_optimizer(run: Any, stopped: Any, tmp_path: Path) -> None:
    shutil.copytree(stopped[0], tmp_path / "run")
    found = run(1, tmp_path / "run")

    assert (6, stopped[1]["end"]) == (found["resumed"], found["restored"])


def test_one_process_restores_what_is_spread_by_tensor_parallelism(run: Any, tmp_path: Path) -> None:
    stopped = run(2, tmp_path / "run", "--layout", "tp", "--stop", 3)
    found = run(1, tmp_path / "run")

    assert (4, stopped["end"]) == (found["resumed"], found["restored"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_save_that_is_killed_leaves_the_one_before_and_the_run_goes_on_bit_for_bit(
    warm_python: WarmPython, whole: Found, tmp_path: Path
) -> None:
    launcher = Launcher(warm_python, 2, PROGRAM)
    ended = launcher.run(tmp_path / "run", "--stage", "written", "--rank", 1, "--at", 4)
    found = finished(launcher.run(tmp_path / "run"))[0]

    assert [1, -9] == [each.returncode for each in ended]
    assert (2, whole["end"], whole["loss"]) == (found["resumed"], found["end"], found["loss"])
    assert ["checkpoint_16.pt", "checkpoint_16.shards"] == found["there"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_save_in_the_background_that_is_killed_does_not_count_and_the_run_ends_as_ever(
    warm_python: WarmPython, whole: Found, tmp_path: Path
) -> None:
    launcher = Launcher(warm_python, 2, PROGRAM)
    ended = launcher.run(tmp_path / "run", "--asynchronous", "--stage", "written", "--rank", 0, "--at", 4)
    left = list((tmp_path / "run").glob("*.pt"))
    found = finished(launcher.run(tmp_path / "run", "--asynchronous"))[0]

    assert [-9, 1] == [each.returncode for each in ended]
    assert (found["resumed"] is None) == (left == [])
    assert (whole["end"], whole["loss"], whole["there"]) == (found["end"], found["loss"], found["there"])


def new_model() -> Any:
    """Return the model of the job, whole."""
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1), torch.nn.Linear(1, 1))


def damage(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


@pytest.mark.parametrize("name", ["__1_0.distcp", ".metadata", "files.json"])
def test_damage_in_the_folder_is_told(stopped: Any, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(stopped[0], folder)
    damage(next(folder.glob(f"*.shards/{name}")))
    text = f"{name}: its content is not what was written"

    with pytest.raises(CheckpointDamagedError, match=text):
        verify_checkpoint(folder / "checkpoint_6.pt")
    with pytest.raises(CheckpointDamagedError, match=text):
        Checkpoint.load_objects({"model": new_model()}, folder / "checkpoint_6.pt")


def test_a_missing_shard_is_told(stopped: Any, tmp_path: Path) -> None:
    shutil.copytree(stopped[0], tmp_path / "run")
    next((tmp_path / "run").glob("*.shards/__0_0.distcp")).unlink()
    with pytest.raises(CheckpointDamagedError, match="__0_0.distcp: it is missing"):
        verify_checkpoint(tmp_path / "run" / "checkpoint_6.pt")


def test_the_command_line_lists_and_verifies_the_folder_with_its_file(
    stopped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(stopped[0], tmp_path / "run")
    size_bytes = sum(path.stat().st_size for path in (tmp_path / "run").rglob("*") if path.is_file())
    (listed,) = (tmp_path / "run").glob("*.shards/files.json")

    assert main(["verify", str(tmp_path / "run"), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert ("checkpoint_6.pt", 6, None) == (row["file"], row["step"], row["problem"])
    assert row["size_bytes"] == size_bytes - listed.stat().st_size

    damage(next((tmp_path / "run").glob("*.shards/__1_0.distcp")))
    assert main(["verify", str(tmp_path / "run"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problem"].endswith("__1_0.distcp: its content is not what was written")


def test_a_directory_alone_is_restored_from_and_an_object_by_itself(stopped: Any) -> None:
    folder, found = stopped
    whole, alone = new_model(), new_model()
    report = restore_latest(folder, {"model": whole})
    Checkpoint.load_objects({"model": alone}, folder / "checkpoint_6.pt")

    assert report.step == 6
    assert [found["end"][0]] * 2 == [digest(each.state_dict()) for each in (whole, alone)]


def test_removing_a_checkpoint_removes_its_folder(stopped: Any, tmp_path: Path) -> None:
    shutil.copytree(stopped[0], tmp_path / "run")
    ShardedSaver(tmp_path / "run").remove("checkpoint_6.pt")

    assert list((tmp_path / "run").iterdir()) == []


def hash_of(content: bytes) -> str:
    """Return what a list of files says of one with this content."""
    return hashlib.blake2b(content, digest_size=32).hexdigest()


class Harm:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch harm",)


def test_a_hostile_description_runs_nothing(stopped: Any, tmp_path: Path) -> None:
    shutil.copytree(stopped[0], tmp_path / "run")
    saver = ShardedSaver(tmp_path / "run")
    (folder,) = (tmp_path / "run").glob("*.shards")
    record = saver.verify("checkpoint_6.pt")
    assert record is not None
    assert record.shards is not None
    harm, names = pickle.dumps(Harm()), folder / "files.json"
    (folder / ".metadata").write_bytes(harm)
    files = {**json.loads(names.read_bytes()), ".metadata": [len(harm), hash_of(harm)]}  # the hashes are hostile too
    names.write_text(json.dumps(files))
    told = record.shards._replace(digest=hash_of(names.read_bytes()))
    payload = torch.load(tmp_path / "run" / "checkpoint_6.pt")
    DiskSaver.save(saver, payload, "checkpoint_6.pt", replace(record, shards=told), is_first=False)
    with pytest.raises(CheckpointUnsafeError, match="must not use (posix|nt).system"):
        saver.read("checkpoint_6.pt", {"model": new_model()})
