from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest

from camshaft.handlers.checkpoint._errors import CheckpointDamagedError, CheckpointError, CheckpointUnsafeError
from camshaft.handlers.checkpoint.format._archive import (
    END_RECORD_BYTES,
    damaged_entries,
    has_checksums,
    read_entries,
    with_comment_bytes,
)

if TYPE_CHECKING:
    from pathlib import Path

PARTS = {"data.pkl": b"\x80\x02}.", "version": b"3\n", "data/0": b"content of a tensor", "data/1": b""}


def archive(parts: dict[str, bytes], top: str = "archive/", method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in parts.items():
            file.writestr(top + name, data)
    return buffer.getvalue()


class Streamed(io.BytesIO):
    """Makes zipfile write sizes behind the entries, as torch does."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError


def streamed(parts: dict[str, bytes]) -> bytes:
    buffer = Streamed()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in parts.items():
            file.writestr(f"archive/{name}", data)
    return buffer.getvalue()


def read(tmp_path: Path, data: bytes) -> dict[str, bytes]:
    path = tmp_path / "file.pt"
    path.write_bytes(data)
    with path.open("rb") as file:
        entries = read_entries(file.fileno(), len(data))
        assert damaged_entries(file.fileno(), entries) == []
        return {name: data[entry.start : entry.end] for name, entry in entries.items()}


def test_entries_are_found_where_they_are(tmp_path: Path) -> None:
    assert read(tmp_path, archive(PARTS)) == PARTS


def test_entries_with_their_sizes_behind_them_are_found(tmp_path: Path) -> None:
    assert read(tmp_path, streamed(PARTS)) == PARTS


def test_changed_content_is_noticed(tmp_path: Path) -> None:
    data = archive(PARTS).replace(b"content of", b"content or")
    path = tmp_path / "file.pt"
    path.write_bytes(data)
    with path.open("rb") as file:
        entries = read_entries(file.fileno(), len(data))
        assert damaged_entries(file.fileno(), entries) == ["data/0"]


def test_an_archive_of_zero_checksums_has_none(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(archive(PARTS))
    with path.open("rb") as file:
        entries = read_entries(file.fileno(), path.stat().st_size)
    assert has_checksums(entries)
    assert not has_checksums({name: entry._replace(crc=0) for name, entry in entries.items()})


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressed_entries_are_refused(tmp_path: Path, method: int) -> None:
    bomb = archive({**PARTS, "data/0": bytes(10**6)}, method=method)

    assert len(bomb) < 10_000
    with pytest.raises(CheckpointDamagedError, match="compressed"):
        read(tmp_path, bomb)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/../../b", "a//b", "./b", "a/.", "C:/b", "a\\..\\b", "folder/"]
)
def test_entries_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointDamagedError):
        read(tmp_path, archive({**PARTS, name: b""}))


@pytest.mark.parametrize("top", ["", "../", "/", "a/../"])
def test_a_top_folder_that_leads_elsewhere_is_refused(tmp_path: Path, top: str) -> None:
    with pytest.raises(CheckpointDamagedError):
        read(tmp_path, archive(PARTS, top=top))


def test_two_folders_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO(archive(PARTS))
    with zipfile.ZipFile(buffer, "a") as file:
        file.writestr("other/data.pkl", b"")
    with pytest.raises(CheckpointDamagedError, match="folder"):
        read(tmp_path, buffer.getvalue())


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["data/0", "DATA/0"])
def test_two_entries_of_one_name_are_refused(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO(archive(PARTS))
    with zipfile.ZipFile(buffer, "a") as file:
        file.writestr(f"archive/{name}", b"another")
    with pytest.raises(CheckpointDamagedError, match="name of its own"):
        read(tmp_path, buffer.getvalue())


def test_an_archive_without_a_pickle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointDamagedError, match=r"data\.pkl"):
        read(tmp_path, archive({"version": b"3\n"}))


def test_a_torchscript_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointUnsafeError, match="TorchScript"):
        read(tmp_path, archive({**PARTS, "constants.pkl": b""}))


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointDamagedError):
        read(tmp_path, archive({}))


def test_entries_that_share_bytes_are_refused(tmp_path: Path) -> None:
    data = archive(PARTS)
    start = data.index(b"PK\x01\x02")
    at = data.index(b"archive/data/0", start) - 4
    target = data.index(b"archive/version", start) - 4
    shared = bytearray(data)
    shared[target : target + 4] = data[at : at + 4]

    with pytest.raises(CheckpointError):
        read(tmp_path, bytes(shared))


@pytest.mark.parametrize("offset", [20, 24])
@pytest.mark.parametrize("size_bytes", [5, 1000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF])
def test_declared_sizes_that_are_not_so_are_refused(tmp_path: Path, offset: int, size_bytes: int) -> None:
    data = bytearray(archive(PARTS))
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + offset, size_bytes)

    with pytest.raises(CheckpointDamagedError):
        read(tmp_path, bytes(data))


@pytest.mark.parametrize("field", range(8, END_RECORD_BYTES - 2, 2))
def test_an_end_record_that_says_something_else_is_refused(tmp_path: Path, field: int) -> None:
    data = bytearray(archive(PARTS))
    position = len(data) - END_RECORD_BYTES + field
    data[position] ^= 1
    with pytest.raises(CheckpointDamagedError):
        read(tmp_path, bytes(data))


def long_end(data: bytes, **changes: int) -> bytes:
    """Put the long end records before the short one, as torch does."""
    end = data[-END_RECORD_BYTES:]
    count, size_bytes, start = struct.unpack("<HII", end[10:20])
    values = {"count": count, "size_bytes": size_bytes, "start": start, "offset": start + size_bytes, **changes}
    record = struct.pack(
        "<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, values["count"], values["count"], values["size_bytes"],
        values["start"],
    )  # fmt: skip
    return data[:-END_RECORD_BYTES] + record + struct.pack("<4sIQI", b"PK\x06\x07", 0, values["offset"], 1) + end


def test_long_end_records_are_read(tmp_path: Path) -> None:
    assert read(tmp_path, long_end(archive(PARTS))) == PARTS


@pytest.mark.parametrize("field", ["count", "size_bytes", "start", "offset"])
@pytest.mark.parametrize("value", [0, 3, 2**31, 2**63, 2**64 - 1])
def test_long_end_records_that_contradict_the_short_one_are_refused(tmp_path: Path, field: str, value: int) -> None:
    with pytest.raises(CheckpointDamagedError):
        read(tmp_path, long_end(archive(PARTS), **{field: value}))


def test_an_extra_field_cannot_declare_more_than_there_is(tmp_path: Path) -> None:
    data = archive({"data.pkl": b"content"})
    start = data.index(b"PK\x01\x02")
    listed = bytearray(data[start:-END_RECORD_BYTES])
    extra = struct.pack("<2H2Q", 1, 16, 1 << 60, 1 << 60)
    struct.pack_into("<II", listed, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", listed, 30, len(extra))
    end = bytearray(data[-END_RECORD_BYTES:])
    struct.pack_into("<I", end, 12, len(listed) + len(extra))

    with pytest.raises(CheckpointDamagedError):
        read(tmp_path, data[:start] + bytes(listed) + extra + bytes(end))


def test_sizes_behind_an_entry_must_be_its_own(tmp_path: Path) -> None:
    data = streamed(PARTS)
    at = data.index(b"PK\x07\x08", data.index(b"content"))
    for position in range(at, at + 16):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(CheckpointDamagedError):
            read(tmp_path, bytes(changed))


def test_the_end_record_is_given_room_for_a_comment() -> None:
    end = archive(PARTS)[-END_RECORD_BYTES:]

    announcing = with_comment_bytes(end, 300)

    assert announcing is not None
    assert announcing[:-2] == end[:-2]
    assert announcing[-2:] == b"\x2c\x01"
    assert with_comment_bytes(b"x" * END_RECORD_BYTES, 300) is None
    assert with_comment_bytes(announcing, 300) is None


def test_content_is_summed_as_archives_do() -> None:
    assert zlib.crc32(PARTS["data/0"]) == zipfile.ZipFile(io.BytesIO(archive(PARTS))).getinfo("archive/data/0").CRC
