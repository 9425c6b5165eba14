from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from camshaft.engine import EngineWarning
from camshaft.handlers import CheckpointDamagedError, CheckpointUnsafeError, DiskSaver
from camshaft.handlers.checkpoint._errors import CheckpointError
from camshaft.handlers.checkpoint.format._payload import read_payload
from camshaft.handlers.checkpoint.format._record import MARK, CheckpointRecord
from camshaft.handlers.checkpoint.format._verify import read_record, verify

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Same = Callable[[Any, Any], bool]


def is_refused(path: Path) -> bool:
    try:
        verify(path)
    except CheckpointError as error:
        return str(path) in str(error)
    return False


def is_refused_or_the_same(path: Path, data: bytes, content: Any, same: Same) -> bool:
    path.write_bytes(data)
    try:
        payload, _ = read_payload(path)
    except CheckpointError:
        return True
    return same(payload, content)


def test_own_files_are_sound_and_say_what_they_are(own_file: Path) -> None:
    contents = verify(own_file)

    assert contents.record is not None
    assert contents.record.save_number == 1
    assert contents.is_verified
    assert "data.pkl" in contents.entries


def test_files_of_plain_torch_save_are_sound_and_say_nothing(plain_file: Path) -> None:
    contents = verify(plain_file)

    assert contents.record is None
    assert contents.is_verified


def test_torch_load_reads_own_files_whole_and_mapped(own_file: Path, content: Any, same: Same) -> None:
    assert same(content, torch.load(own_file))
    assert same(content, torch.load(own_file, mmap=True))


def test_every_single_changed_bit_of_an_own_file_is_noticed(own_file: Path) -> None:
    data = own_file.read_bytes()
    rng = random.Random(5)
    ends = range(len(data) * 8 - 400 * 8, len(data) * 8)  # the trailer and the record before it
    for position in [*rng.sample(range(len(data) * 8), 300), *ends[::7]]:
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        own_file.write_bytes(changed)
        assert is_refused(own_file), f"bit {position} of {len(data) * 8}"


def test_a_changed_bit_of_a_plain_file_is_noticed_or_changes_nothing(
    plain_file: Path, content: Any, same: Same
) -> None:
    data = plain_file.read_bytes()
    for position in random.Random(6).sample(range(len(data) * 8), 400):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        assert is_refused_or_the_same(plain_file, changed, content, same), f"bit {position} of {len(data) * 8}"


@pytest.mark.parametrize("kind", ["own_file", "plain_file"])
def test_a_cut_off_file_is_noticed(kind: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(kind)
    data = path.read_bytes()
    for length in [*range(0, len(data), 7), *range(len(data) - 300, len(data))]:
        path.write_bytes(data[:length])
        assert is_refused(path), f"{length} of {len(data)} bytes"


@pytest.mark.parametrize("kind", ["own_file", "plain_file"])
def test_bytes_added_to_a_file_are_noticed(kind: str, request: pytest.FixtureRequest) -> None:
    path: Path = request.getfixturevalue(kind)
    data = path.read_bytes()
    for changed in (data + b"\0", b"\0" + data, data + data, data[:64] + b"\0" * 8 + data[64:]):
        path.write_bytes(changed)
        assert is_refused(path)


@pytest.mark.parametrize("kind", ["own_file", "plain_file"])
def test_holes_and_swapped_parts_are_noticed(
    kind: str, request: pytest.FixtureRequest, content: Any, same: Same
) -> None:
    path: Path = request.getfixturevalue(kind)
    data = path.read_bytes()
    rng = random.Random(7)
    for _ in range(150):
        start = rng.randrange(len(data))
        hole = data[:start] + bytes(min(64, len(data) - start)) + data[start + 64 :]
        assert is_refused_or_the_same(path, hole, content, same)
        one, two = sorted(rng.sample(range(0, len(data) - 64, 64), 2))
        swapped = bytearray(data)
        swapped[one : one + 64], swapped[two : two + 64] = data[two : two + 64], data[one : one + 64]
        assert is_refused_or_the_same(path, bytes(swapped), content, same)


def test_damage_in_a_large_own_file_is_noticed_in_every_block(tmp_path: Path) -> None:
    DiskSaver(tmp_path)({"weight": torch.zeros(10_000_000)}, "large.pt")
    path = tmp_path / "large.pt"
    assert not is_refused(path)
    for position in (1 << 20, 17 << 20, 33 << 20):
        with path.open("r+b") as file:
            file.seek(position)
            file.write(b"\1")
        assert is_refused(path)
        with path.open("r+b") as file:
            file.seek(position)
            file.write(b"\0")
    assert not is_refused(path)


def test_two_equal_changes_in_different_blocks_do_not_cancel_out(tmp_path: Path) -> None:
    DiskSaver(tmp_path)({"weight": torch.zeros(10_000_000)}, "large.pt")
    path = tmp_path / "large.pt"
    with path.open("r+b") as file:
        for position in (1 << 20, (17 << 20) + 4):
            file.seek(position)
            file.write(b"\1")
    assert is_refused(path)


def test_symbolic_links_are_refused_unless_trusted(own_file: Path, content: Any, same: Same) -> None:
    link = own_file.with_name("link.pt")
    link.symlink_to(own_file)

    with pytest.raises(CheckpointUnsafeError, match="symbolic link"):
        verify(link)
    assert same(content, read_payload(link, trusted=True)[0])


def test_hard_links_are_refused_unless_trusted(own_file: Path, content: Any, same: Same) -> None:
    link = own_file.with_name("link.pt")
    os.link(own_file, link)

    with pytest.raises(CheckpointUnsafeError, match="2 names"):
        verify(link)
    assert same(content, read_payload(link, trusted=True)[0])


def test_a_rename_that_a_loss_of_power_left_half_done_refuses_nothing(own_file: Path, content: Any, same: Same) -> None:
    os.link(own_file, own_file.with_name(".camshaft-0123456789abcdef.tmp"))
    assert same(content, read_payload(own_file)[0])

    os.link(own_file, own_file.with_name("of_somebody_else.pt"))
    with pytest.raises(CheckpointUnsafeError, match="3 names"):
        read_payload(own_file)


def test_what_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    for path in (tmp_path / "pipe.pt", tmp_path):
        with pytest.raises(CheckpointUnsafeError, match="no regular file"):
            verify(path)


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "none.pt")


@pytest.mark.parametrize(
    "data", [b"", bytes(5000), b"PK\x03\x04" + bytes(5000), b"no archive at all", bytes(range(256)) * 40]
)
def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(data)

    assert is_refused(path)


def test_archives_without_checksums_are_refused_unless_trusted(tmp_path: Path, content: Any, same: Same) -> None:
    path = tmp_path / "file.pt"
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    torch.save(content, path)
    torch.serialization.set_crc32_options(before)

    with pytest.raises(CheckpointUnsafeError, match="without checksums"):
        verify(path)
    assert not verify(path, trusted=True).is_verified
    assert same(content, read_payload(path, trusted=True)[0])


def test_the_format_from_before_archives_is_refused_unless_trusted(tmp_path: Path, content: Any, same: Same) -> None:
    plain = tmp_path / "plain.pt"
    torch.save(content, plain, _use_new_zipfile_serialization=False)
    saver = DiskSaver(tmp_path, require_empty=False, _use_new_zipfile_serialization=False)
    with pytest.warns(EngineWarning, match="it is no archive"):
        saver(content, "own.pt")
    own = tmp_path / "own.pt"

    for path, is_verified in ((plain, False), (own, True)):
        with pytest.raises(CheckpointUnsafeError, match="trusted=True"):
            verify(path)
        assert is_verified is verify(path, trusted=True).is_verified
        assert same(content, read_payload(path, trusted=True)[0])
        assert same(content, torch.load(path))


def test_damage_to_an_own_file_in_the_old_format_is_noticed_even_if_trusted(tmp_path: Path, content: Any) -> None:
    with pytest.warns(EngineWarning, match="it is no archive"):
        DiskSaver(tmp_path, _use_new_zipfile_serialization=False)(content, "own.pt")
    path = tmp_path / "own.pt"
    data = path.read_bytes()
    rng = random.Random(8)
    for position in rng.sample(range(len(data) * 8), 200):
        changed = bytearray(data)
        changed[position // 8] ^= 1 << position % 8
        path.write_bytes(changed)
        with pytest.raises(CheckpointDamagedError):
            verify(path, trusted=True)
    for length in range(data.index(MARK) + len(MARK), len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointDamagedError):
            verify(path, trusted=True)


def test_trust_does_not_excuse_damage(own_file: Path) -> None:
    data = bytearray(own_file.read_bytes())
    data[900] ^= 1
    own_file.write_bytes(data)

    with pytest.raises(CheckpointDamagedError):
        read_payload(own_file, trusted=True)


def test_the_record_is_read_without_the_content(own_file: Path, plain_file: Path) -> None:
    data = bytearray(own_file.read_bytes())
    data[900] ^= 1
    own_file.write_bytes(data)

    assert read_record(own_file) == CheckpointRecord(save_number=1)
    assert read_record(plain_file) is None
