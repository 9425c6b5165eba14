from __future__ import annotations

import itertools
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camshaft.handlers.checkpoint.format import _checksum
from camshaft.handlers.checkpoint.format._checksum import BlockChecksum, checksum_of, crc_of, read_at


def summed(data: bytes, cuts: list[int]) -> int:
    checksum = BlockChecksum()
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        checksum.update(memoryview(data)[start:end])
    return checksum.value()


@given(data=st.binary(min_size=1, max_size=200), cuts=st.lists(st.integers(0, 200), min_size=1, max_size=5))
def test_portions_do_not_matter(data: bytes, cuts: list[int]) -> None:
    assert summed(data, []) == summed(data, cuts)


@pytest.mark.parametrize("size_bytes", [0, 1, 999, 1000, 1001, 3000, 12_345])
def test_a_file_and_the_same_bytes_in_memory_have_the_same_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int
) -> None:
    monkeypatch.setattr(_checksum, "BLOCK_BYTES", 1000)
    data = random.Random(size_bytes).randbytes(size_bytes)
    path = tmp_path / "file"
    path.write_bytes(data)
    with path.open("rb") as file:
        assert summed(data, [17, 1000, 2500]) == checksum_of(file.fileno(), size_bytes)


def test_every_byte_and_the_length_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_checksum, "BLOCK_BYTES", 10)
    data = bytes(range(35))
    seen = {summed(data, [])}
    for index in range(len(data)):
        seen.add(summed(data[:index] + bytes([data[index] ^ 4]) + data[index + 1 :], []))
        seen.add(summed(data[:index], []))
    assert len(seen) == 1 + 2 * len(data)


def test_reading_beyond_the_end_stops_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    with path.open("rb") as file:
        assert crc_of(file.fileno(), 0, 3) == crc_of(file.fileno(), 0, 1000)
        assert read_at(file.fileno(), 1, 10) == b"bc"


def test_without_pread_the_file_is_read_by_seeking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pread")
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    with path.open("rb") as file:
        assert read_at(file.fileno(), 2, 3) == b"cde"
