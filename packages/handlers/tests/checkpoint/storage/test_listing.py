from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from camshaft.handlers import DiskSaver, NoCheckpointError, list_checkpoints
from camshaft.handlers.checkpoint.format._payload import write_payload
from camshaft.handlers.checkpoint.format._record import LARGEST_SAVE_NUMBER, CheckpointRecord
from camshaft.handlers.checkpoint.storage._directory import DirectoryStore
from camshaft.handlers.checkpoint.storage._listing import largest_save_number
from camshaft.handlers.checkpoint.storage._store import readable_list

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from pathlib import Path


def listed(directory: Path) -> list[str]:
    return [item.path.name for item in list_checkpoints(directory)]


def test_newest_first_by_save_number_whatever_clock_and_name_say(tmp_path: Path) -> None:
    saver = DiskSaver(tmp_path)
    for name in ("b_900.pt", "a_5.pt", "c_70.pt"):
        saver({"a": 1}, name)
    os.utime(tmp_path / "b_900.pt", (2**31, 2**31))
    os.utime(tmp_path / "c_70.pt", (0, 0))

    assert listed(tmp_path) == ["c_70.pt", "a_5.pt", "b_900.pt"]
    assert largest_save_number(list_checkpoints(tmp_path)) == 3


def test_files_of_plain_torch_save_come_after_by_step_then_by_time(tmp_path: Path) -> None:
    DiskSaver(tmp_path)({"a": 1}, "model_1.pt")
    times = {"old.pt": 10, "new.pt": 20, "m_9.pt": 0, "m_10.pth": 5, "m_7_acc=0.9000.pt": 99, "m_8_0.5000.pt": 1}
    for name, time in times.items():
        torch.save({"a": 1}, tmp_path / name)
        os.utime(tmp_path / name, (time, time))

    assert listed(tmp_path) == [
        "model_1.pt", "m_10.pth", "m_9.pt", "m_8_0.5000.pt", "m_7_acc=0.9000.pt", "new.pt", "old.pt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("model_12.pt", 12),
        ("best_model_12_val_acc=0.7700.pt", 12),
        ("best_model_12_0.7700.pt", 12),
        ("best_model_12_-0.7700.pt", 12),
        ("12.pt", 12),
        ("model_val_acc=0.7700.pt", None),
        ("model_0.7700.pt", None),
        ("model.pt", None),
    ],
)
def test_steps_are_read_from_the_names_of_plain_files(tmp_path: Path, name: str, step: int | None) -> None:
    torch.save({"a": 1}, tmp_path / name)

    assert [step] == [item.step for item in list_checkpoints(tmp_path)]


def test_an_absurd_save_number_does_not_spoil_those_to_come(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    with path.open("w+b") as file:
        write_payload(file.fileno(), {"a": 1}, CheckpointRecord(save_number=LARGEST_SAVE_NUMBER - 1), {})
    DiskSaver(tmp_path, require_empty=False)({"a": 1}, "model.pt")

    assert [item.record.save_number for item in list_checkpoints(tmp_path) if item.record] == [2**63 - 1, 1]


def test_other_files_are_not_listed_but_own_ones_of_any_name_are(tmp_path: Path) -> None:
    DiskSaver(tmp_path)({"a": 1}, "model.checkpoint")
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / ".camshaft-0123456789abcdef.tmp").touch()

    assert listed(tmp_path) == ["model.checkpoint"]


def test_damaged_files_and_links_are_listed_without_a_record(own_file: Path) -> None:
    (own_file.parent / "link.pt").symlink_to(own_file)
    (own_file.parent / "broken.pt").symlink_to("nowhere")
    (own_file.parent / "empty.pt").touch()
    data = own_file.read_bytes()
    (own_file.parent / "cut.pt").write_bytes(data[:-10])
    (own_file.parent / "changed.pt").write_bytes(data[:-10] + b"x" + data[-9:])

    records = {item.path.name: item.record for item in list_checkpoints(own_file.parent)}
    assert records.pop("own.pt") is not None
    assert records == dict.fromkeys(["link.pt", "broken.pt", "empty.pt", "cut.pt", "changed.pt"])


def test_files_that_do_not_tell_their_age_come_first(own_file: Path) -> None:
    data = own_file.read_bytes()
    (own_file.parent / "cut.pt").write_bytes(data[:-10])
    (own_file.parent / "hole.pt").write_bytes(bytes(len(data)))
    torch.save({"a": 1}, own_file.parent / "plain.pt")
    torch.save({"a": 1}, own_file.parent / "old.pt", _use_new_zipfile_serialization=False)

    items = list_checkpoints(own_file.parent)
    assert {item.path.name for item in items[:2]} == {"cut.pt", "hole.pt"}
    assert [item.is_legible for item in items] == [False, False, True, True, True]
    assert items[2].path == own_file


def test_a_missing_directory_has_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list_checkpoints(tmp_path / "none")
    with pytest.raises(NoCheckpointError, match="none"):
        readable_list(DirectoryStore(tmp_path / "none"))
