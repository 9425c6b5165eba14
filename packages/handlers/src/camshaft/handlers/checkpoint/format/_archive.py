"""The structure of a checkpoint file: a zip archive, read more strictly than archives usually are.

`torch.save` writes its archives in one way only: stored entries one right after another, the
directory right after the last, nothing before, between or behind. Held to that, a file cannot mean
one thing here and another to the reader that loads it, no entry can be larger than the file, and
none can share bytes with another.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from camshaft.handlers.checkpoint._errors import CheckpointDamagedError, CheckpointUnsafeError
from camshaft.handlers.checkpoint.format._checksum import crc_of, read_at

LOCAL_MARK = b"PK\x03\x04"
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_SATURATED16, _SATURATED32 = 0xFFFF, 0xFFFFFFFF
_SATURATED = (_SATURATED16, _SATURATED32, _SATURATED32)
_IS_FOLLOWED_BY_SIZES, _IS_UTF8, _IS_FOLDER = 0x8, 0x800, 0x10
_ALLOWED_FLAGS = _IS_FOLLOWED_BY_SIZES | _IS_UTF8
_TWO_LISTED_BYTES = 1 << 18  # names and extra fields are at most 64 KiB each
_TORCHSCRIPT = "constants.pkl"
PICKLE = "data.pkl"


class Entry(NamedTuple):
    """One entry of an archive: its content lies at `start` to `end` in the file."""

    name: str
    start: int
    end: int
    crc: int


class _Listed(NamedTuple):
    """An entry as the directory lists it."""

    raw_name: bytes
    flags: int
    crc: int
    size_bytes: int
    offset: int


def end_record_is_at(descriptor: int, offset: int, comment_bytes: int) -> bool:
    """Return whether the record that ends an archive stands at `offset` and announces such a comment."""
    return is_end_record(read_at(descriptor, offset, _END.size) if offset >= 0 else b"", comment_bytes)


def is_end_record(raw: bytes, comment_bytes: int) -> bool:
    """Return whether this is the record that ends an archive, and announces such a comment."""
    return len(raw) == _END.size and raw[:4] == b"PK\x05\x06" and _END.unpack(raw)[-1] == comment_bytes


def with_comment_bytes(end_record: bytes, comment_bytes: int) -> bytes | None:
    """Return an archive's last record with room for a comment, or None if this is no such record."""
    if len(end_record) != _END.size or end_record[:4] != b"PK\x05\x06" or end_record[-2:] != b"\0\0":
        return None
    return end_record[:-2] + comment_bytes.to_bytes(2, "little")


END_RECORD_BYTES = _END.size


def read_entries(descriptor: int, end: int) -> dict[str, Entry]:
    """Return the entries of the archive that the first `end` bytes of a file are, by name without the top folder.

    Args:
        descriptor: The open file.
        end: Where the archive ends, its comment not included.

    Raises:
        CheckpointDamagedError: it is not such an archive as `torch.save` writes.
    """
    listed, directory_start = _read_directory(descriptor, end)
    entries: dict[str, Entry] = {}
    tops: set[str] = set()
    folded: set[str] = set()  # readers look names up without regard to case
    for index, item in enumerate(listed):
        next_offset = listed[index + 1].offset if index + 1 < len(listed) else directory_start
        entry = _read_entry(descriptor, item, next_offset)
        top, name = _plain_name(entry.name)
        tops.add(top)
        folded.add(name.casefold())
        entries[name] = entry._replace(name=name)
    if len(folded) < len(listed) or len(tops) > 1:
        raise CheckpointDamagedError("its entries do not lie in one folder, each under a name of its own")
    if _TORCHSCRIPT in entries:
        raise CheckpointUnsafeError("it is a TorchScript archive, not a checkpoint")
    if PICKLE not in entries:
        raise CheckpointDamagedError(f"it has no entry {PICKLE!r}")
    return entries


def read_first_entry(descriptor: int, end: int) -> Entry:
    """Return the first entry of an archive, without a look at the others: it is the pickle in what `torch.save` wrote.

    Args:
        descriptor: The open file.
        end: Where the archive ends, its comment not included.

    Raises:
        CheckpointDamagedError: it is no such archive.
    """
    start, size_bytes, count = _locate_directory(descriptor, end)
    raw = _read_exactly(descriptor, start, min(size_bytes, _TWO_LISTED_BYTES))
    first, position = _parse_listed(raw, 0)
    next_offset = start if count == 1 else _parse_listed(raw, position)[0].offset
    return _read_entry(descriptor, first, next_offset)


def damaged_entries(descriptor: int, entries: dict[str, Entry]) -> list[str]:
    """Return the names of the entries whose content does not match the archive's own checksums."""
    return [name for name, entry in entries.items() if crc_of(descriptor, entry.start, entry.end) != entry.crc]


def has_checksums(entries: dict[str, Entry]) -> bool:
    """Return whether the archive was written with checksums: without them all are zero."""
    return any(entry.crc for entry in entries.values())


def _read_directory(descriptor: int, end: int) -> tuple[list[_Listed], int]:
    """Return what the directory lists, and where it starts."""
    start, size_bytes, count = _locate_directory(descriptor, end)
    raw = _read_exactly(descriptor, start, size_bytes)
    listed: list[_Listed] = []
    position = 0
    while position < size_bytes:
        item, position = _parse_listed(raw, position)
        listed.append(item)
    if len(listed) != count or not listed:
        raise CheckpointDamagedError(f"its directory lists {len(listed)} entries instead of {count}")
    if listed[0].offset != 0:
        raise CheckpointDamagedError("its first entry does not start at its beginning")
    return listed, start


def _locate_directory(descriptor: int, end: int) -> tuple[int, int, int]:
    """Return where the directory starts, its size in bytes, and the number of entries."""
    position = end - _END.size
    mark, disk, first_disk, here, count, size_bytes, start, _ = _END.unpack(
        _read_exactly(descriptor, position, _END.size)
    )
    if mark != b"PK\x05\x06" or disk or first_disk or here != count:
        raise CheckpointDamagedError("it does not end like an archive; it may be cut off")
    directory_end = position
    locator_at = position - _LOCATOR64.size
    locator = read_at(descriptor, locator_at, _LOCATOR64.size) if locator_at >= _END64.size else b""
    if locator[:4] == b"PK\x06\x07":
        directory_end = locator_at - _END64.size
        real = _read_end64(descriptor, locator, directory_end)
        for short, full, saturated in zip((count, size_bytes, start), real, _SATURATED, strict=True):
            if short not in (full, saturated) or (short == saturated and full < saturated):
                raise CheckpointDamagedError("its two end records contradict each other")
        count, size_bytes, start = real
    if start + size_bytes != directory_end:
        raise CheckpointDamagedError("its directory does not lie where it should")
    return start, size_bytes, count


def _read_end64(descriptor: int, locator: bytes, position: int) -> tuple[int, int, int]:
    """Return number of entries, size and start of the directory from the long end record."""
    _, disk, offset, disks = _LOCATOR64.unpack(locator)
    raw = _read_exactly(descriptor, position, _END64.size)
    mark, length, _, _, this_disk, first_disk, here, count, size_bytes, start = _END64.unpack(raw)
    fits = (mark, length, here, offset) == (b"PK\x06\x06", _END64.size - 12, count, position)
    if not fits or disk or this_disk or first_disk or disks > 1:
        raise CheckpointDamagedError("its long end record is not one")
    return count, size_bytes, start


def _parse_listed(raw: bytes, position: int) -> tuple[_Listed, int]:
    """Return the entry that the directory lists at `position`, and where the next one starts."""
    if len(raw) - position < _CENTRAL.size:
        raise CheckpointDamagedError("its directory is cut off")
    fields = _CENTRAL.unpack_from(raw, position)
    mark, _, _, flags, method, _, _, crc, packed, size_bytes, name_bytes, extra_bytes, comment_bytes = fields[:13]
    disk, _, attributes, offset = fields[13:]
    names_at = position + _CENTRAL.size
    after = names_at + name_bytes + extra_bytes + comment_bytes
    if mark != b"PK\x01\x02" or after > len(raw):
        raise CheckpointDamagedError("its directory is garbled")
    extra = raw[names_at + name_bytes : names_at + name_bytes + extra_bytes]
    size_bytes, packed, offset = _long_sizes(extra, [size_bytes, packed, offset])
    if method != 0 or packed != size_bytes:
        raise CheckpointDamagedError("an entry is compressed, which torch.save never does")
    if flags & ~_ALLOWED_FLAGS or disk or comment_bytes or attributes & _IS_FOLDER:
        raise CheckpointDamagedError("an entry has properties that torch.save never gives")
    return _Listed(raw[names_at : names_at + name_bytes], flags, crc, size_bytes, offset), after


def _long_sizes(extra: bytes, values: list[int]) -> list[int]:
    """Return the values with those that did not fit into 32 bits taken from the entry's extra field."""
    position, long_values = 0, b""
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == 1:
            long_values = extra[position + 4 : position + 4 + length]
            break
        position += 4 + length
    result = []
    for value in values:
        if value == _SATURATED32:
            if len(long_values) < 8:
                raise CheckpointDamagedError("an entry does not tell its size")
            value, long_values = int.from_bytes(long_values[:8], "little"), long_values[8:]
        result.append(value)
    return result


def _read_entry(descriptor: int, listed: _Listed, next_offset: int) -> Entry:
    """Return an entry whose own header agrees with the directory and that reaches right up to the next one."""
    raw = _read_exactly(descriptor, listed.offset, _LOCAL.size)
    mark, _, flags, method, _, _, crc, packed, size_bytes, name_bytes, extra_bytes = _LOCAL.unpack(raw)
    is_followed = bool(flags & _IS_FOLLOWED_BY_SIZES)
    names = _read_exactly(descriptor, listed.offset + _LOCAL.size, name_bytes)
    start = listed.offset + _LOCAL.size + name_bytes + extra_bytes
    end = start + listed.size_bytes
    if mark != LOCAL_MARK or method != 0 or flags != listed.flags or names != listed.raw_name or end > next_offset:
        raise CheckpointDamagedError("an entry does not match the directory")
    listed_values = (listed.crc, listed.size_bytes, listed.size_bytes)
    unset = {0, _SATURATED32} if is_followed else {_SATURATED32}
    if any(own not in {value, *unset} for own, value in zip((crc, packed, size_bytes), listed_values, strict=True)):
        raise CheckpointDamagedError("an entry's size or checksum does not match the directory")
    _require_descriptor(_read_exactly(descriptor, end, min(next_offset - end, 25)), listed, is_expected=is_followed)
    try:
        return Entry(names.decode(), start, end, listed.crc)
    except UnicodeDecodeError as error:
        raise CheckpointDamagedError("an entry's name is no text") from error


def _require_descriptor(raw: bytes, listed: _Listed, *, is_expected: bool) -> None:
    """Raise unless what follows an entry is nothing, or repeats its checksum and sizes."""
    if not raw and (not is_expected or not listed.size_bytes):
        return
    for layout in ("<4s3I", "<4sI2Q"):
        if is_expected and len(raw) == struct.calcsize(layout):
            expected = (b"PK\x07\x08", listed.crc, listed.size_bytes, listed.size_bytes)
            if struct.unpack(layout, raw) == expected:
                return
    raise CheckpointDamagedError("something lies between two entries")


def _plain_name(full_name: str) -> tuple[str, str]:
    """Return the folder of an entry and its name in there; raise if the two are no plain path."""
    top, _, name = full_name.partition("/")
    has_plain_parts = all(part and part not in {".", ".."} for part in full_name.split("/"))
    if not name or not has_plain_parts or any(character in full_name for character in "\\:\0"):
        raise CheckpointDamagedError(f"an entry is called {full_name[:80]!r}, which is no plain name")
    return top, name


def _read_exactly(descriptor: int, offset: int, size_bytes: int) -> bytes:
    is_possible = 0 <= offset < 1 << 62 and size_bytes > 0
    raw = read_at(descriptor, offset, size_bytes) if is_possible else b""
    if len(raw) != size_bytes:
        raise CheckpointDamagedError("it is too short")
    return raw
