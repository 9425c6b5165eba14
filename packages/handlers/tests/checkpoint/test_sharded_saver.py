from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from camshaft.engine import ArgumentError, Engine, Events
from camshaft.handlers import Checkpoint, CheckpointWriteError, ShardedSaver, list_checkpoints, restore_latest
from camshaft.handlers.__main__ import main
from camshaft.handlers.checkpoint._sharded_saver import _alone
from camshaft.handlers.testing import check_store

torch = pytest.importorskip("torch")
tensor = pytest.importorskip("torch.distributed.tensor")
if not torch.distributed.is_available():
    pytest.skip("this torch cannot work with several processes", allow_module_level=True)


class Weight:
    """A sharded tensor."""

    def __init__(self, mesh: Any, value: float) -> None:
        self.value = tensor.distribute_tensor(torch.full((4,), value), mesh, [tensor.Shard(0)])

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["value"]


def test_it_keeps_what_is_promised_of_stores(tmp_path: Path) -> None:
    def damage(filename: str) -> None:
        path = tmp_path / filename
        path.write_bytes(path.read_bytes().replace(b"weight", b"height"))

    check_store(lambda: ShardedSaver(tmp_path), damage)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_save_holds_the_moment_and_keeps_as_many_folders_as_files(
    mesh: Any, tmp_path: Path, asynchronous: bool
) -> None:
    weight = Weight(mesh, 0.0)
    trainer: Engine[Any, Any] = Engine(lambda engine, batch: weight.value.add_(1.0))
    latest = Checkpoint({"weight": weight}, ShardedSaver(tmp_path / "run", asynchronous=asynchronous), n_saved=2)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=2), latest)
    trainer.run(range(7))
    names = [file.name for file in list_checkpoints(tmp_path / "run")]
    assert restore_latest(tmp_path / "run", {"weight": weight}).step == 6

    assert weight.value.full_tensor().tolist() == [6.0] * 4
    assert names == ["weight_6.pt", "weight_4.pt"]
    folders = {path.name.rsplit(".", 2)[0] for path in (tmp_path / "run").glob("*.shards")}
    assert folders == set(names)


def test_two_handlers_of_one_directory_leave_the_folders_of_each_other(mesh: Any, tmp_path: Path) -> None:
    weight = Weight(mesh, 0.0)
    trainer: Engine[Any, Any] = Engine(lambda engine, batch: None)
    for prefix in ("best", "latest"):
        saver = ShardedSaver(tmp_path / "run", asynchronous=True)
        trainer.add_event_handler(Events.ITERATION_COMPLETED, Checkpoint({"weight": weight}, saver, prefix))
    trainer.run(range(5))

    assert restore_latest(tmp_path / "run", {"weight": weight}, filename_prefix="best").step == 5
    assert restore_latest(tmp_path / "run", {"weight": weight}, filename_prefix="latest").step == 5


def test_what_cannot_be_written_is_a_write_error_that_names_the_rank(mesh: Any, tmp_path: Path) -> None:
    from camshaft.handlers.checkpoint.storage import _shards

    (tmp_path / "file").touch()
    with pytest.raises(CheckpointWriteError, match=r"could not be written: rank 0: .*NotADirectoryError"):
        _shards.write(tmp_path / "file" / "folder", {"weight": Weight(mesh, 1.0).value})


def test_processes_that_do_not_agree_are_refused(mesh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)  # the other one does not have to be there
    latest = Checkpoint({"weight": Weight(mesh, 1.0)}, ShardedSaver(tmp_path / "run"))
    with pytest.raises(ArgumentError, match=r"where 2 processes do not agree; call camshaft.distributed.start"):
        latest(Engine(lambda engine, batch: None))


def test_a_single_object_may_be_called_otherwise_when_it_is_loaded(mesh: Any, tmp_path: Path) -> None:
    latest = Checkpoint({"weight": Weight(mesh, 3.0)}, ShardedSaver(tmp_path / "run"))
    latest(Engine(lambda engine, batch: None))
    other = Weight(mesh, 0.0)
    Checkpoint.load_objects({"other": other}, str(latest.last_checkpoint))

    assert other.value.full_tensor().tolist() == [3.0] * 4


def test_a_part_that_is_a_view_of_a_larger_tensor_is_copied_alone() -> None:
    whole = torch.ones(100)

    assert _alone(whole) is whole
    assert _alone(whole[:4]).untyped_storage().nbytes() == 16


@pytest.fixture
def shards(mesh: Any, tmp_path: Path) -> Path:
    """The folder with the shards of the first of two checkpoints."""
    saver, engine = ShardedSaver(tmp_path), Engine[Any, Any](lambda engine, batch: None)
    latest = Checkpoint({"weight": Weight(mesh, 1.0)}, saver, n_saved=2)
    for engine.state.iteration in (1, 2):
        latest(engine)
    (folder,) = tmp_path.glob("weight_1.pt.*.shards")
    return folder


def told(action: str, place: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Return what the command line tells of a place: the exit status, and the problem of each file."""
    status = main([action, str(place), "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return status, {row["file"]: row["problem"] for row in rows}


@pytest.mark.parametrize("action", ["list", "verify"])
def test_a_folder_and_a_shard_in_it_stand_for_their_checkpoint(
    shards: Path, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (shards, shards / "__0_0.distcp"):
        assert told(action, place, capsys) == (0, {"weight_1.pt": None})


@pytest.mark.parametrize("action", ["list", "verify"])
@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (shutil.rmtree, ": it is missing"),
        (lambda folder: (folder / "__0_0.distcp").unlink(), "/__0_0.distcp: it is missing"),
        (lambda folder: (folder / "files.json").unlink(), "/files.json: it is missing"),
    ],
)
def test_shards_that_are_missing_are_noticed_also_by_a_quick_look(
    shards: Path, action: str, harm: Any, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    harm(shards)

    text = shards.name + problem.replace("/", os.sep)
    assert told(action, shards.parent, capsys) == (1, {"weight_1.pt": text, "weight_2.pt": None})


def test_a_shard_of_another_size_is_noticed_by_a_quick_look(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shards / "__0_0.distcp").write_bytes(b"short")

    status, problems = told("list", shards.parent, capsys)
    assert status == 1
    assert "it has 5 bytes in place of" in problems["weight_1.pt"]
