"""Checkpoints of a sharded model, by real processes: killed at each stage, damaged, and restored by others."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from ranks_started import Launcher, finished

from camshaft.handlers import CheckpointDamagedError, CheckpointUnsafeError, ShardedSaver

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


def test_damage_in_one_shard_is_told(stopped: Any, tmp_path: Path) -> None:
    shutil.copytree(stopped[0], tmp_path / "run")
    (shard,) = (tmp_path / "run").glob("*.shards/__1_0.distcp")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    saver = ShardedSaver(tmp_path / "run")

    for look in (saver.verify, saver.read):
        with pytest.raises(CheckpointDamagedError, match="__1_0.distcp: its content is not what was written"):
            look("checkpoint_6.pt")


def test_a_missing_shard_is_told(stopped: Any, tmp_path: Path) -> None:
    shutil.copytree(stopped[0], tmp_path / "run")
    next((tmp_path / "run").glob("*.shards/__0_0.distcp")).unlink()
    with pytest.raises(CheckpointDamagedError, match="__0_0.distcp: it is missing"):
        ShardedSaver(tmp_path / "run").verify("checkpoint_6.pt")


def test_removing_a_checkpoint_removes_its_folder(stopped: Any, tmp_path: Path) -> None:
    shutil.copytree(stopped[0], tmp_path / "run")
    ShardedSaver(tmp_path / "run").remove("checkpoint_6.pt")

    assert list((tmp_path / "run").iterdir()) == []


class Harm:
    """What runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.system, ("touch harm",)


def test_a_hostile_description_runs_nothing(stopped: Any, tmp_path: Path) -> None:
    shutil.copytree(stopped[0], tmp_path / "run")
    (folder,) = (tmp_path / "run").glob("*.shards")
    saver = ShardedSaver(tmp_path / "run")
    payload = torch.load(tmp_path / "run" / "checkpoint_6.pt")
    (folder / ".metadata").write_bytes(pickle.dumps(Harm()))
    payload["shards"]["files"] = {}  # the hashes may be hostile as well
    saver(payload, "checkpoint_6.pt")
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1), torch.nn.Linear(1, 1))
    with pytest.raises(CheckpointUnsafeError, match="must not use (posix|nt).system"):
        saver.read("checkpoint_6.pt", {"model": model})
