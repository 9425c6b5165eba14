from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from camshaft.handlers.checkpoint.storage import _durable
from camshaft.handlers.checkpoint.storage._durable import (
    leave_memory,
    make_directory,
    remove_leftovers,
    replacing,
    require_writable,
    writing_in_place,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TEMPORARY = ".camshaft-0123456789abcdef.tmp"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls to the operating system that decide over durability, in their order."""
    seen: list[str] = []
    real_fsync, real_replace, real_unlink = os.fsync, os.replace, os.unlink

    def what(descriptor: int) -> str:
        return "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"

    def fsync(descriptor: int) -> None:
        seen.append(f"fsync {what(descriptor)}")
        real_fsync(descriptor)

    def replace(source: Any, target: Any) -> None:
        seen.append("rename")
        real_replace(source, target)

    def unlink(path: Any) -> None:
        seen.append("unlink")
        real_unlink(path)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "unlink", unlink)
    return seen


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_new_file_is_synced_then_renamed_then_its_name_is_synced(tmp_path: Path, calls: list[str]) -> None:
    with replacing(tmp_path / "file", durable=True) as descriptor:
        os.write(descriptor, b"new")
        assert len(names(tmp_path)) == 1
        assert not (tmp_path / "file").exists()

    assert (tmp_path / "file").read_bytes() == b"new"
    assert calls == ["fsync file", "rename", "fsync directory"]


def test_without_durability_nothing_is_synced(tmp_path: Path, calls: list[str]) -> None:
    with replacing(tmp_path / "file", durable=False):
        pass

    assert calls == ["rename"]


def test_a_file_that_fails_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def write_and_fail() -> None:
        with replacing(tmp_path / "file", durable=True) as descriptor:
            os.write(descriptor, b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_and_fail()

    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_when_a_new_name_is_not_confirmed_it_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(errno.EIO, f"cannot sync {path}")

    monkeypatch.setattr(_durable, "sync_directory", refuse)
    with pytest.raises(OSError, match="cannot sync"), replacing(tmp_path / "file", durable=True):
        pass

    assert names(tmp_path) == []


@pytest.mark.parametrize("way", [replacing, writing_in_place])
def test_links_are_replaced_and_what_they_lead_to_stays(tmp_path: Path, way: Callable[..., Iterator[int]]) -> None:
    (tmp_path / "precious").write_bytes(b"old")
    os.link(tmp_path / "precious", tmp_path / "hard")
    (tmp_path / "soft").symlink_to(tmp_path / "precious")
    for name in ("hard", "soft"):
        with way(tmp_path / name, durable=True) as descriptor:  # type: ignore[attr-defined] # both are context managers
            os.write(descriptor, b"new")
        assert (tmp_path / name).read_bytes() == b"new"
        assert not (tmp_path / name).is_symlink()

    assert (tmp_path / "precious").read_bytes() == b"old"


def test_a_link_planted_at_the_temporary_name_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / TEMPORARY).symlink_to(tmp_path / "precious")
    monkeypatch.setattr("secrets.token_hex", lambda _: "0123456789abcdef")

    with pytest.raises(FileExistsError), replacing(tmp_path / "file", durable=True):
        pass
    assert (tmp_path / "precious").read_bytes() == b"old"


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664), (0o000, 0o666)])
@pytest.mark.parametrize("way", [replacing, writing_in_place])
def test_the_mode_is_what_the_umask_leaves(
    tmp_path: Path, way: Callable[..., Iterator[int]], umask: int, expected: int
) -> None:
    before = os.umask(umask)
    try:
        with way(tmp_path / "file", durable=False):  # type: ignore[attr-defined] # both are context managers
            pass
    finally:
        os.umask(before)

    assert expected == stat.S_IMODE((tmp_path / "file").stat().st_mode)


def test_a_file_written_in_place_stays_when_it_fails(tmp_path: Path) -> None:
    def write_and_fail() -> None:
        with writing_in_place(tmp_path / "file", durable=True) as descriptor:
            os.write(descriptor, b"half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        write_and_fail()

    assert (tmp_path / "file").read_bytes() == b"half"


def test_a_new_directory_is_synced_into_each_one_above_it(tmp_path: Path, calls: list[str]) -> None:
    make_directory(tmp_path / "a" / "b" / "c")

    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert calls == ["fsync directory"] * 3


def test_a_writable_directory_is_left_as_it_was(tmp_path: Path) -> None:
    require_writable(tmp_path)

    assert names(tmp_path) == []


def test_a_probe_that_cannot_be_closed_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_close = os.close

    def close(descriptor: int) -> None:
        real_close(descriptor)
        raise OSError(errno.EIO, "the server is gone")

    monkeypatch.setattr(os, "close", close)
    with pytest.raises(OSError, match="the server is gone"):
        require_writable(tmp_path)
    monkeypatch.undo()
    assert names(tmp_path) == []


def test_a_directory_that_takes_no_files_is_noticed() -> None:
    if not Path("/proc/self").exists():
        pytest.skip("needs /proc, where nobody can create files")
    with pytest.raises(OSError, match="proc"):
        require_writable(Path("/proc"))


def test_only_our_own_leftovers_are_removed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / TEMPORARY).write_bytes(b"half a checkpoint")
    others = ["a.tmp", ".camshaft-01.tmp", ".camshaft-0123456789abcdef.tmp.bak", "model.pt", "tmpabc123"]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".camshaft-00000000000000aa.tmp").symlink_to(tmp_path / "precious")
    (tmp_path / ".camshaft-00000000000000bb.tmp").mkdir()

    assert remove_leftovers(tmp_path) == [TEMPORARY]
    assert len(names(tmp_path)) == len(others) + 3
    assert (tmp_path / "precious").read_bytes() == b"old"


def test_a_file_that_leaves_memory_stays_as_it_is_and_a_missing_one_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"content" * 10_000)
    leave_memory(path)
    leave_memory(tmp_path / "missing.pt")

    assert path.read_bytes() == b"content" * 10_000
