from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from camshaft.engine import Engine
from camshaft.handlers import (
    Checkpoint,
    CheckpointDamagedError,
    CheckpointMismatchError,
    CheckpointUnsafeError,
    DiskSaver,
    LoadReport,
    NoCheckpointError,
    restore_latest,
)
from camshaft.handlers.checkpoint.storage._directory import DirectoryStore

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from pathlib import Path


class Counter:
    """The smallest thing with a state."""

    def __init__(self, count: float = 0) -> None:
        self.count = count

    def state_dict(self) -> dict[str, float]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, float]) -> None:
        if state["count"] < 0:
            raise RuntimeError("a count must not be negative")
        self.count = state["count"]


def engine_at(iteration: int) -> Engine[Any, Any]:
    engine = Engine(lambda engine, batch: None)
    engine.state.iteration = iteration
    return engine


def saved(directory: Path, counts: list[float], *, keys: str = "ab", **options: Any) -> Checkpoint:
    """Save objects whose count says which save they are from, numbered from 1."""
    objects = {key: Counter() for key in keys}
    handler = Checkpoint(objects, directory, **{"n_saved": None, **options})
    for index, count in enumerate(counts):
        for item in objects.values():
            item.count = count
        handler(engine_at(index + 1))
    return handler


def restored(directory: Path, keys: str = "ab", **options: Any) -> tuple[list[float], LoadReport]:
    objects = {key: Counter(-1) for key in keys}
    report = restore_latest(directory, objects, **options)
    return [item.count for item in objects.values()], report


def flip(path: Path, position: int = 500) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_the_newest_is_restored_and_reported(tmp_path: Path) -> None:
    saved(tmp_path, [10, 20, 30])

    counts, report = restored(tmp_path)

    assert counts == [30, 30]
    assert report == LoadReport(tmp_path / "checkpoint_3.pt", step=3, save_number=3, priority=3)


def test_damaged_files_are_passed_over_with_a_warning_and_named(tmp_path: Path) -> None:
    saved(tmp_path, [10, 20, 30])
    flip(tmp_path / "checkpoint_3.pt")
    (tmp_path / "checkpoint_2.pt").write_bytes((tmp_path / "checkpoint_2.pt").read_bytes()[:700])

    with pytest.warns(UserWarning, match="passed over"):
        counts, report = restored(tmp_path)

    assert counts == [10, 10]
    assert report.path == tmp_path / "checkpoint_1.pt"
    # Cut off, the second has lost its save number with its end: it is looked at first.
    assert [path.name for path, _ in report.skipped] == ["checkpoint_2.pt", "checkpoint_3.pt"]
    assert "cut off" in report.skipped[0][1]
    assert "checksum" in report.skipped[1][1]


def test_whatever_the_newest_is_cut_to_the_one_before_is_restored(tmp_path: Path) -> None:
    saved(tmp_path, [10, 20])
    data = (tmp_path / "checkpoint_2.pt").read_bytes()
    for length in range(0, len(data), 97):
        (tmp_path / "checkpoint_2.pt").write_bytes(data[:length])
        with pytest.warns(UserWarning, match="passed over"):
            counts, report = restored(tmp_path)
        assert counts == [10, 10]
        assert report.path.name == "checkpoint_1.pt"
        assert [path.name for path, _ in report.skipped] == ["checkpoint_2.pt"]


def test_files_without_all_the_objects_are_passed_over(tmp_path: Path) -> None:
    saved(tmp_path, [10])
    saved(tmp_path, [20], keys="a", filename_prefix="best")

    assert restored(tmp_path)[0] == [10, 10]
    report = restored(tmp_path)[1]
    assert report.skipped == ((tmp_path / "best_a_1.pt", "it lacks 'b'"),)
    assert restored(tmp_path, keys="a")[0] == [20]


def test_objects_that_do_not_fit_are_passed_over_and_unchanged(tmp_path: Path) -> None:
    saved(tmp_path, [10, -1])

    with pytest.warns(UserWarning, match="a count must not be negative"):
        counts, report = restored(tmp_path)
    assert counts == [10, 10]
    assert "RuntimeError" in report.skipped[0][1]


def test_when_nothing_will_do_the_reasons_are_told_and_nothing_is_changed(tmp_path: Path) -> None:
    saved(tmp_path, [-1])
    saved(tmp_path, [20], keys="a", filename_prefix="best")
    objects = {"a": Counter(5), "b": Counter(6)}
    with (
        pytest.warns(UserWarning, match="passed over"),
        pytest.raises(NoCheckpointError, match=r"(?s)'a', 'b'.*best_a_1\.pt: it lacks 'b'.*checkpoint_1\.pt: a count"),
    ):
        restore_latest(tmp_path, objects)
    assert [item.count for item in objects.values()] == [5, 6]


@pytest.mark.parametrize("name", ["", "none"])
def test_an_empty_or_missing_directory_has_no_checkpoint(tmp_path: Path, name: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        restored(tmp_path / name)
    assert isinstance(caught.value, NoCheckpointError)


def test_prefixes_select_files(tmp_path: Path) -> None:
    saved(tmp_path, [10])
    saved(tmp_path, [20], filename_prefix="best")
    saved(tmp_path, [30], filename_prefix="best_two")
    torch.save({"a": {"count": 40}, "b": {"count": 40}}, tmp_path / "plain_checkpoint_9.pt")

    assert restored(tmp_path)[0] == [30, 30]
    assert restored(tmp_path, filename_prefix="best")[0] == [20, 20]
    assert restored(tmp_path, filename_prefix="best_two")[0] == [30, 30]
    assert restored(tmp_path, filename_prefix="")[0] == [10, 10]
    assert restored(tmp_path, filename_prefix="plain")[0] == [40, 40]
    with pytest.raises(NoCheckpointError):
        restored(tmp_path, filename_prefix="other")


def test_clocks_do_not_matter(tmp_path: Path) -> None:
    saved(tmp_path, [10, 20, 30])
    for index, time in enumerate((2**31, 5, 5)):
        os.utime(tmp_path / f"checkpoint_{index + 1}.pt", (time, time))

    assert restored(tmp_path)[0] == [30, 30]


def test_a_moved_directory_is_restored_from(tmp_path: Path) -> None:
    saved(tmp_path / "old", [10, 20])
    shutil.move(tmp_path / "old", tmp_path / "new")

    assert restored(tmp_path / "new")[0] == [20, 20]


def test_files_of_plain_torch_save_are_restored_by_the_step_in_their_name(tmp_path: Path) -> None:
    for step in (900, 1000, 95):
        torch.save({"a": {"count": step}, "b": {"count": step}}, tmp_path / f"checkpoint_{step}.pt")

    counts, report = restored(tmp_path)

    assert counts == [1000, 1000]
    assert (report.step, report.save_number) == (1000, None)


def test_the_step_of_a_file_that_a_saver_wrote_by_hand_is_that_in_its_name(tmp_path: Path) -> None:
    DiskSaver(tmp_path)({"a": {"count": 20}, "b": {"count": 20}}, "checkpoint_20.pt")

    assert restored(tmp_path)[1].step == 20


def test_links_are_passed_over_unless_trusted(tmp_path: Path) -> None:
    saved(tmp_path / "real", [10, 20])
    (tmp_path / "checkpoint_9.pt").symlink_to(tmp_path / "real" / "checkpoint_1.pt")

    with pytest.warns(UserWarning, match="symbolic link"), pytest.raises(NoCheckpointError):
        restored(tmp_path)
    assert restored(tmp_path, trusted=True)[0] == [10, 10]


def test_unsafe_files_are_passed_over_unless_trusted(tmp_path: Path) -> None:
    saved(tmp_path, [10])
    with pytest.warns(UserWarning, match="trusted=True"):
        handler = saved(tmp_path, [Engine], keys="ab", filename_prefix="odd")  # type: ignore[list-item] # a class
    assert handler.last_checkpoint is not None

    with pytest.warns(UserWarning, match="passed over"):
        assert restored(tmp_path)[0] == [10, 10]


def test_nan_scores_are_counted(tmp_path: Path) -> None:
    scores = iter([float("nan"), 0.5, float("nan")])
    saved(
        tmp_path,
        [10, 20, 30],
        score_function=lambda engine: next(scores),
        global_step_transform=lambda e, _: e.state.iteration,
    )
    flip(tmp_path / "checkpoint_3_nan.pt")

    with pytest.warns(UserWarning, match="passed over"):
        counts, report = restored(tmp_path)
    assert counts == [20, 20]
    assert report.nan_scores == 1
    assert report.priority == 0.5


def test_running_out_of_memory_is_no_reason_to_go_back_to_an_older_file(tmp_path: Path) -> None:
    class Large(Counter):
        def load_state_dict(self, state: dict[str, float]) -> None:
            raise MemoryError

    saved(tmp_path, [10, 20])
    with pytest.raises(MemoryError):
        restore_latest(tmp_path, {"a": Counter(), "b": Large()})


def test_strict_and_map_location_are_passed_on(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 1)
    DiskSaver(tmp_path)({"weight": torch.ones(1, 2)}, "model_1.pt")

    with pytest.warns(UserWarning, match="Missing key"), pytest.raises(NoCheckpointError):
        restore_latest(tmp_path, {"model": model})
    restore_latest(tmp_path, {"model": model}, strict=False)
    assert model.weight.tolist() == [[1.0, 1.0]]
    with pytest.warns(UserWarning, match="nowhere"), pytest.raises(NoCheckpointError):
        restore_latest(tmp_path, {"model": model}, map_location="nowhere")


# ---------------------------------------------------------------------- load_objects


def test_objects_are_loaded_from_a_file_or_what_was_read_from_it(tmp_path: Path) -> None:
    saved(tmp_path, [10])
    path = tmp_path / "checkpoint_1.pt"
    for checkpoint in (path, str(path), torch.load(path)):
        counter = Counter()
        Checkpoint.load_objects({"b": counter}, checkpoint)
        assert counter.count == 10


def test_a_bare_file_is_loaded_under_any_name(tmp_path: Path) -> None:
    saved(tmp_path, [10], keys="a")
    for key in ("a", "other", "count"):
        counter = Counter()
        Checkpoint.load_objects({key: counter}, tmp_path / "a_1.pt")
        assert counter.count == 10


def test_a_model_saved_by_a_bare_saver_is_loaded(tmp_path: Path) -> None:
    source, target = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    DiskSaver(tmp_path)(source.state_dict(), "model.pt")
    Checkpoint.load_objects({"model": target}, tmp_path / "model.pt")

    assert torch.equal(source.weight, target.weight)


def test_errors_of_loading_are_told_apart(tmp_path: Path) -> None:
    saved(tmp_path, [10])
    path = tmp_path / "checkpoint_1.pt"
    with pytest.raises(CheckpointMismatchError, match="lacks 'c'"):
        Checkpoint.load_objects({"a": Counter(), "c": Counter()}, path)
    with pytest.raises(FileNotFoundError):
        Checkpoint.load_objects({"a": Counter()}, tmp_path / "none.pt")
    with pytest.raises(TypeError, match="to_load"):
        Checkpoint.load_objects({"a": 5}, path)
    os.link(path, tmp_path / "link.pt")
    with pytest.raises(CheckpointUnsafeError):
        Checkpoint.load_objects({"a": Counter()}, path)
    (tmp_path / "link.pt").unlink()
    flip(path)
    counter = Counter(5)
    with pytest.raises(CheckpointDamagedError, match=r"checkpoint_1\.pt"):
        Checkpoint.load_objects({"a": counter}, path)
    assert counter.count == 5


def test_a_module_that_does_not_fit_raises_what_torch_raises(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 1)
    before = model.weight.clone()
    DiskSaver(tmp_path)({"model": torch.nn.Linear(3, 1).state_dict()}, "file.pt")
    with pytest.raises(RuntimeError, match="size mismatch"):
        Checkpoint.load_objects({"model": model}, tmp_path / "file.pt")
    assert torch.equal(before, model.weight)


def test_where_nothing_was_saved_yet_missing_ok_gives_none(tmp_path: Path) -> None:
    handler = Checkpoint({"a": Counter()}, tmp_path / "used", "latest")
    for directory in (tmp_path / "used", tmp_path / "missing"):
        assert restore_latest(directory, {"a": Counter()}, missing_ok=True) is None
    assert handler.restore_latest(missing_ok=True) is None
    with pytest.raises(NoCheckpointError):
        handler.restore_latest()
    with pytest.raises(NoCheckpointError):
        restore_latest(tmp_path / "missing", {"a": Counter()})


def test_files_of_others_are_nothing_that_was_saved(tmp_path: Path) -> None:
    saved(tmp_path, [10], keys="a", filename_prefix="best")
    latest = Checkpoint({"a": Counter()}, tmp_path, "latest")

    assert latest.restore_latest(missing_ok=True) is None
    assert restore_latest(tmp_path, {"a": Counter()}, filename_prefix="latest", missing_ok=True) is None


def test_with_missing_ok_what_is_there_is_restored_as_ever(tmp_path: Path) -> None:
    handler = saved(tmp_path, [10, 20], keys="a")
    report = handler.restore_latest(missing_ok=True)

    assert report is not None
    assert report.step == 2
    assert report == restore_latest(tmp_path, {"a": Counter()}, missing_ok=True)


def test_files_that_are_there_and_will_not_do_are_an_error_with_missing_ok_too(tmp_path: Path) -> None:
    handler = saved(tmp_path, [10], keys="a")
    flip(tmp_path / "a_1.pt")

    with pytest.warns(UserWarning, match="passed over"), pytest.raises(NoCheckpointError, match="checksum"):
        handler.restore_latest(missing_ok=True)
    with pytest.warns(UserWarning, match="passed over"), pytest.raises(NoCheckpointError, match="checksum"):
        restore_latest(tmp_path, {"a": Counter()}, missing_ok=True)


def test_what_is_no_directory_is_an_error_with_missing_ok_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(NoCheckpointError, match="cannot be looked into"):
        restore_latest(tmp_path / "file", {"a": Counter()}, missing_ok=True)


@pytest.mark.parametrize("by_handler", [False, True])
def test_files_that_a_running_save_has_replaced_since_they_were_listed_are_looked_for_again(
    tmp_path: Path, by_handler: bool
) -> None:
    counter, restored = Counter(1), Counter()
    saving = Checkpoint({"m": counter}, tmp_path, n_saved=2)
    for step in (1, 2):
        saving(engine_at(step))

    class SavesMeanwhile(dict[str, Any]):
        """Objects to load; the first look at them is after the files were listed."""

        is_first = True

        def __iter__(self) -> Any:
            if len(listed) == 1 and self.is_first:
                self.is_first = False
                counter.count = 4
                for step in (3, 4):
                    saving(engine_at(step))
            return super().__iter__()

    listed: list[object] = []
    list_files = DirectoryStore.checkpoints

    def noted(store: DirectoryStore) -> Any:
        listed.append(store)
        return list_files(store)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DirectoryStore, "checkpoints", noted)
        to_load = SavesMeanwhile(m=restored)
        report = saving.restore_latest(to_load) if by_handler else restore_latest(tmp_path, to_load)

    assert (report.step, restored.count, report.skipped) == (4, 4, ())
    assert len(listed) == 2
