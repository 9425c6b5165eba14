from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError
from camshaft.handlers import DiskSaver, NoCheckpointError
from camshaft.handlers.checkpoint._handler_files import (
    files_of_handler,
    find_file,
    read_saved,
    verified_items,
    without_missing,
)
from camshaft.handlers.checkpoint._naming import Naming
from camshaft.handlers.checkpoint._retention import Item
from camshaft.handlers.checkpoint.format._record import CheckpointRecord
from camshaft.handlers.checkpoint.storage._directory import DirectoryStore
from camshaft.handlers.checkpoint.storage._save_handler import SaveMetadata

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from pathlib import Path

at = DirectoryStore
LATEST = Naming.checked(None, "", None, None, None)
BEST = Naming.checked(None, "best", None, "acc", lambda engine, event: 0)


def save(directory: Path, filename: str, **facts: Any) -> None:
    saver = DiskSaver(directory, require_empty=False)
    saver({"a": 1}, filename, SaveMetadata(CheckpointRecord(keys=("a",), is_bare=True, **facts)))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory that several handlers have saved to."""
    save(tmp_path, "model_10.pt", name="model", step=10, priority=10)
    save(
        tmp_path, "best_model_1_acc=0.5000.pt", name="model", prefix="best", score_name="acc", step=1, priority=0.50001
    )
    save(tmp_path, "model_20.pt", name="model", step=20, priority=20)
    save(tmp_path, "checkpoint_20.pt", name="checkpoint", step=20, priority=20)
    save(tmp_path, "best_model_2_acc=nan.pt", name="model", prefix="best", score_name="acc", priority=float("nan"))
    torch.save({"a": 1}, tmp_path / "best_model_3_acc=0.7500.pt")
    torch.save({"a": 1}, tmp_path / "unrelated.pt")
    return tmp_path


def found(directory: Path, naming: Naming, name: str | None) -> list[str]:
    return [item.path.name for item in files_of_handler(at(directory), naming, name)]


def test_own_files_are_those_of_the_pattern_prefix_score_and_name(directory: Path) -> None:
    assert found(directory, LATEST, "model") == ["model_20.pt", "model_10.pt"]
    assert found(directory, LATEST, "checkpoint") == ["checkpoint_20.pt"]
    assert found(directory, BEST, "model") == [
        "best_model_2_acc=nan.pt", "best_model_1_acc=0.5000.pt", "best_model_3_acc=0.7500.pt",
    ]  # fmt: skip
    assert found(directory, BEST, None) == found(directory, BEST, "model")


def test_a_file_that_says_it_is_anothers_is_not_ones_own(directory: Path) -> None:
    save(directory, "model_30.pt", name="model", prefix="other", priority=30)

    assert "model_30.pt" not in found(directory, LATEST, "model")


def test_items_have_the_priority_saved_or_that_in_the_name_oldest_first(directory: Path) -> None:
    files = files_of_handler(at(directory), BEST, "model")
    items = verified_items(at(directory), files, BEST, skip=directory, check=True)

    assert [item.filename for item in items] == [item.path.name for item in reversed(files)]
    assert items[0] == Item(0.75, "best_model_3_acc=0.7500.pt")
    assert items[1] == Item(0.50001, "best_model_1_acc=0.5000.pt")
    assert verified_items(
        at(directory),
        files_of_handler(at(directory), LATEST, "model"),
        LATEST,
        skip=directory,
        check=True,
    ) == [
        Item(10, "model_10.pt"),
        Item(20, "model_20.pt"),
    ]


def test_damaged_files_are_no_items(directory: Path) -> None:
    data = bytearray((directory / "model_10.pt").read_bytes())
    data[500] ^= 1
    (directory / "model_10.pt").write_bytes(data)
    files = files_of_handler(at(directory), LATEST, "model")

    with pytest.warns(UserWarning, match=r"model_10\.pt.*left out"):
        assert verified_items(at(directory), files, LATEST, skip=directory, check=True) == [Item(20, "model_20.pt")]
    assert len(verified_items(at(directory), files, LATEST, skip=directory, check=False)) == 2


def test_files_are_found_by_the_parts_of_their_names(directory: Path) -> None:
    def find(naming: Naming, **components: Any) -> str:
        return find_file(at(directory), naming, components).name

    assert find(LATEST, name="model") == "model_20.pt"
    assert find(LATEST, name="model", global_step=10) == "model_10.pt"
    assert find(BEST, score=0.75) == "best_model_3_acc=0.7500.pt"
    assert find(BEST, score="0.5000", global_step="1") == "best_model_1_acc=0.5000.pt"
    assert find(BEST, score=float("nan")) == "best_model_2_acc=nan.pt"
    with pytest.raises(NoCheckpointError, match="11"):
        find(LATEST, name="model", global_step=11)
    with pytest.raises(ArgumentError, match="score"):
        find(LATEST, score=0.5)
    with pytest.raises(NoCheckpointError):
        find_file(at(directory / "none"), LATEST, {})


@pytest.mark.parametrize("key", ["_saved", "saved"])
def test_saved_lists_are_read(directory: Path, key: str) -> None:
    state = {key: [(10, "model_10.pt"), [20, "model_20.pt"]]}

    assert read_saved(state, LATEST, None, at(directory)) == [
        Item(10, "model_10.pt"),
        Item(20, "model_20.pt"),
    ]


def test_what_is_gone_is_dropped_with_a_warning(directory: Path) -> None:
    (directory / "model_7.pt").symlink_to("model_10.pt")
    state = {"_saved": [(5, "model_5.pt"), (10, "model_10.pt")]}
    with pytest.warns(UserWarning, match=r"model_5\.pt.*gone"):
        assert without_missing(read_saved(state, LATEST, None, at(directory)), at(directory), expected=False) == [
            Item(10, "model_10.pt")
        ]
    with pytest.warns(UserWarning, match=r"model_7\.pt.*gone"):
        assert without_missing([Item(7, "model_7.pt")], at(directory), expected=False) == []


@pytest.mark.filterwarnings("error")
def test_what_later_saves_have_removed_is_dropped_without_one(directory: Path) -> None:
    items = [Item(5, "model_5.pt"), Item(10, "model_10.pt")]
    assert without_missing(items, at(directory), expected=True) == [Item(10, "model_10.pt")]


@pytest.mark.parametrize(
    "filename",
    ["/etc/passwd", "../model_1.pt", "a/model_1.pt", "notes.txt", "best_model_1_acc=0.5000.pt", "model_1.pt.bak", ""],
)
def test_files_of_others_in_a_list_are_refused(directory: Path, filename: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read_saved({"_saved": [(1, filename)]}, LATEST, None, at(directory))


@pytest.mark.parametrize(
    "state",
    [{}, {"_saved": None}, {"_saved": "text"}, {"_saved": [1]}, {"_saved": [(1,)]}, {"_saved": [(1, 2)]},
     {"_saved": [("1", "model_1.pt")]}, {"_saved": [(True, "model_1.pt")]}, {"_saved": ["12"]}],
)  # fmt: skip
def test_lists_that_are_none_are_refused(directory: Path, state: Any) -> None:
    with pytest.raises(ArgumentError, match="state_dict"):
        read_saved(state, LATEST, None, at(directory))


def test_a_state_must_be_a_mapping(directory: Path) -> None:
    with pytest.raises(ArgumentTypeError):
        read_saved([(1, "model_1.pt")], LATEST, None, at(directory))


def test_without_a_directory_names_are_taken_as_they_are() -> None:
    assert read_saved({"_saved": [(1, "s3://bucket/model")]}, LATEST, None, None) == [Item(1, "s3://bucket/model")]


@pytest.mark.parametrize("filename", ["other_1.pt", "best_model_1.pt"])
def test_a_list_that_names_files_of_another_object_is_refused(tmp_path: Path, filename: str) -> None:
    with pytest.raises(ArgumentError, match="not this handler's to remove"):
        read_saved({"_saved": [(1, filename)]}, LATEST, "model", at(tmp_path))
