"""A Checkpoint that goes on after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoint_parts import Counter, InMemory, engine_at, names

from camshaft.engine import ArgumentError
from camshaft.handlers import Checkpoint, NoCheckpointError, NoDirectoryError

torch = pytest.importorskip("torch")


def training_set(directory: Path, n_saved: int | None = 2) -> tuple[dict[str, Counter], Checkpoint]:
    objects = {"a": Counter(), "b": Counter()}
    return objects, Checkpoint(objects, directory, n_saved=n_saved)


def test_after_a_restart_the_list_is_taken_up_from_the_files(tmp_path: Path) -> None:
    _, handler = training_set(tmp_path)
    for iteration in (10, 20, 30):
        handler(engine_at(iteration))

    _, handler = training_set(tmp_path)
    assert handler.last_checkpoint is None
    report = handler.restore_latest()
    assert report.step == 30
    assert handler.state_dict() == {"_saved": [(20, "checkpoint_20.pt"), (30, "checkpoint_30.pt")]}
    assert handler.newest_checkpoint == tmp_path / "checkpoint_30.pt"
    handler(engine_at(40))

    assert names(tmp_path) == ["checkpoint_30.pt", "checkpoint_40.pt"]


@pytest.mark.parametrize(("n_saved", "left"), [(1, 1), (2, 2), (5, 4), (None, 4)])
def test_after_a_restart_with_another_limit_that_limit_holds(tmp_path: Path, n_saved: int | None, left: int) -> None:
    _, handler = training_set(tmp_path, n_saved=3)
    for iteration in (10, 20, 30):
        handler(engine_at(iteration))
    _, handler = training_set(tmp_path, n_saved=n_saved)
    handler.restore_latest()
    handler(engine_at(40))

    assert left == len(names(tmp_path))


def test_a_damaged_file_takes_no_place_in_the_list(tmp_path: Path) -> None:
    _, handler = training_set(tmp_path, n_saved=3)
    for iteration in (10, 20, 30):
        handler(engine_at(iteration))
    (tmp_path / "checkpoint_30.pt").write_bytes(b"PK\x03\x04")
    _, handler = training_set(tmp_path, n_saved=1)
    with pytest.warns(UserWarning, match=r"checkpoint_30\.pt"):
        report = handler.restore_latest()
    assert report.step == 20
    assert handler.state_dict() == {"_saved": [(10, "checkpoint_10.pt"), (20, "checkpoint_20.pt")]}


def test_files_of_another_run_with_later_steps_do_not_keep_new_ones_out(tmp_path: Path) -> None:
    _, first = training_set(tmp_path, n_saved=1)
    first(engine_at(1000))
    _, second = training_set(tmp_path, n_saved=1)
    second(engine_at(10))

    _, third = training_set(tmp_path, n_saved=1)
    with pytest.warns(UserWarning, match=r"checkpoint_1000\.pt is of a later step"):
        assert third.restore_latest().step == 10
    third(engine_at(20))

    assert names(tmp_path) == ["checkpoint_1000.pt", "checkpoint_20.pt"]
    with pytest.warns(UserWarning, match="later step"):
        assert third.restore_latest().step == 20


def test_ones_own_files_are_restored_not_those_of_others(tmp_path: Path) -> None:
    objects, latest = training_set(tmp_path)
    latest(engine_at(10))
    objects["a"].count = 5
    Checkpoint(objects, tmp_path, "best", score_function=lambda engine: 1.0)(engine_at(20))

    objects, latest = training_set(tmp_path)
    assert latest.restore_latest().path.name == "checkpoint_10.pt"
    assert objects["a"].count == 0


def test_other_objects_may_be_restored(tmp_path: Path) -> None:
    objects, handler = training_set(tmp_path)
    objects["b"].count = 8
    handler(engine_at(10))
    other = Counter()
    handler.restore_latest({"b": other})

    assert other.count == 8


def test_restoring_needs_files_and_a_disk(tmp_path: Path) -> None:
    _, handler = training_set(tmp_path)
    with pytest.raises(NoCheckpointError):
        handler.restore_latest()
    in_memory = Checkpoint({"m": Counter()}, InMemory())
    with pytest.raises(NoDirectoryError, match="save_handler"):
        in_memory.restore_latest()
    with pytest.raises(AttributeError):
        in_memory.reload_objects({"m": Counter()})


def test_files_are_reloaded_by_the_parts_of_their_names(tmp_path: Path) -> None:
    objects, handler = training_set(tmp_path, n_saved=None)
    for iteration in (10, 20, 30):
        objects["a"].count = iteration
        handler(engine_at(iteration))

    handler.reload_objects(objects, global_step=10)
    assert objects["a"].count == 10
    handler.reload_objects(objects)
    assert objects["a"].count == 30
    only = {"a": Counter()}
    handler.reload_objects(only, {"map_location": "cpu", "trusted": True}, global_step=20)
    assert only["a"].count == 20
    with pytest.raises(NoCheckpointError):
        handler.reload_objects(objects, global_step=11)


def test_a_saved_list_is_loaded_and_checked(tmp_path: Path) -> None:
    _, handler = training_set(tmp_path, n_saved=None)
    for iteration in (10, 20):
        handler(engine_at(iteration))
    state = handler.state_dict()
    _, other = training_set(tmp_path, n_saved=None)
    other.load_state_dict(state)

    assert state == other.state_dict()
    assert other.last_checkpoint == other.newest_checkpoint == tmp_path / "checkpoint_20.pt"
    with pytest.raises(ArgumentError, match="remove"):
        other.load_state_dict({"_saved": [(1, "notes.txt")]})
    assert state == other.state_dict()
    with pytest.warns(UserWarning, match="gone"):
        other.load_state_dict({"saved": [(5, "checkpoint_5.pt"), (10, "checkpoint_10.pt")]})
    assert other.state_dict() == {"_saved": [(10, "checkpoint_10.pt")]}


def test_a_list_from_a_file_goes_back_into_its_handler(tmp_path: Path) -> None:
    model = Counter(1)
    handler = Checkpoint({"m": model}, tmp_path, include_self=True, n_saved=3)
    for iteration in (10, 20):
        handler(engine_at(iteration))
    restarted = Checkpoint({"m": model}, tmp_path, include_self=True, n_saved=3)
    Checkpoint.load_objects({"m": model, "checkpointer": restarted}, tmp_path / "m_20.pt")

    assert handler.state_dict() == restarted.state_dict()
