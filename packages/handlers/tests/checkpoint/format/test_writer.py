from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from camshaft.handlers.checkpoint.format._checksum import checksum_of
from camshaft.handlers.checkpoint.format._record import (
    CheckpointRecord,
    decode_trailer,
    encode_record,
    trailer_size_bytes,
)
from camshaft.handlers.checkpoint.format._writer import CheckpointWriter

if TYPE_CHECKING:
    from pathlib import Path

TEXT = encode_record(CheckpointRecord(save_number=3))
END = b"PK\x05\x06" + bytes(18)


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [10],
        [10, 20, 30],
        [5 << 20],
        [1 << 22],
        [(1 << 22) + 1],
        [100, 5 << 20, 100],
        [3 << 20, 3 << 20],
        [1 << 20] * 9,
    ],
)
def test_all_bytes_arrive_in_order_with_their_checksum(tmp_path: Path, sizes: list[int]) -> None:
    parts = [random.Random(index).randbytes(size) for index, size in enumerate(sizes)]
    path = tmp_path / "file"
    with path.open("w+b") as file, CheckpointWriter(file.fileno()) as sink:
        for part in parts:
            assert len(part) == sink.write(part)
        sink.write(END)
        sink.flush()
        sink.finish(TEXT)
        size_bytes = sink.size_bytes

    data = path.read_bytes()
    length = trailer_size_bytes(TEXT)
    assert len(data) == size_bytes
    assert b"".join(parts) + END[:-2] + length.to_bytes(2, "little") == data[:-length]
    trailer = decode_trailer(data[-length:])
    with path.open("rb") as file:
        assert trailer.checksum == checksum_of(file.fileno(), len(data) - length)


def test_what_is_no_archive_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("w+b") as file, CheckpointWriter(file.fileno()) as sink:
        sink.write(b"something else")
        sink.finish(TEXT)

    assert path.read_bytes().startswith(b"something elsecamshaft-checkpoint/1 ")


def test_memory_that_changes_after_a_write_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("w+b") as file, CheckpointWriter(file.fileno()) as sink:
        for size in (10, 6 << 20):
            memory = bytearray(b"a" * size)
            sink.write(memoryview(memory))
            memory[:] = b"b" * size
        sink.finish(TEXT)

    assert b"b" not in path.read_bytes()[: 6 << 20]


def test_an_error_is_kept_for_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with path.open("rb") as file, CheckpointWriter(file.fileno()) as sink:  # not open for writing
        assert sink.write(b"a" * (6 << 20)) == 6 << 20
        assert sink.write(b"b") == 1
        with pytest.raises(OSError, match="Bad file descriptor"):
            sink.finish(TEXT)
    assert path.stat().st_size == 0
