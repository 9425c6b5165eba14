"""What a checkpoint file says about itself, and the few bytes at its end that say it.

A file ends with one line of text: a mark, a JSON object, the checksum of everything before the
line, the length of the line, and the line's own checksum. In a zip archive the line is the archive's
comment, so that every reader of archives accepts it.
"""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

from camshaft.handlers.checkpoint._errors import CheckpointDamagedError

MARK = b"camshaft-checkpoint/1 "
LONGEST_TRAILER_BYTES = 60_000  # an archive's comment has room for 65,535
_TAIL = re.compile(rb" ([0-9a-f]{8}) ([0-9]{5}) ([0-9a-f]{8})")
TAIL_BYTES = 24
LARGEST_SAVE_NUMBER = 1 << 63
SHARDS = ".shards"  # names of folders of shards end so


class ShardRecord(NamedTuple):
    """What a checkpoint file says about the folder with its shards.

    Attributes:
        folder: Name of the folder, which lies beside the file.
        size_bytes: Size of all files in it.
        digest: Hash of the list of these files, in which the hashes of all others are.
    """

    folder: str
    size_bytes: int
    digest: str


@dataclass(frozen=True)
class CheckpointRecord:
    """What a checkpoint file says about itself.

    Attributes:
        save_number: Counts the saves into the directory; a larger one is newer.
        step: Step of the save, None if it was given none.
        exact: False when the save was taken where a run cannot be continued exactly.
        prefix: `filename_prefix` of the handler.
        name: Name of the only object, or ``"checkpoint"``.
        keys: Names of the objects inside, None when unknown.
        is_bare: Whether the file holds the state of its only object as it is, not by name.
        score_name: The name of the score.
        priority: The score, or the step, that retention went by; None when unknown.
        shards: The folder of tensors that are kept apart; None where the file holds all.
    """

    save_number: int = 0
    step: float | None = None
    exact: bool = True
    prefix: str = ""
    name: str = ""
    keys: tuple[str, ...] | None = None
    is_bare: bool = False
    score_name: str | None = None
    priority: float | None = None
    shards: ShardRecord | None = None


class Trailer(NamedTuple):
    """The end of a file, read back.

    Attributes:
        record: What it says.
        checksum: Checksum of the bytes before it.
        size_bytes: Its own length.
    """

    record: CheckpointRecord
    checksum: int
    size_bytes: int


_KINDS: dict[str, tuple[type, ...]] = {
    "save_number": (int,),
    "step": (int, float, type(None)),
    "exact": (bool,),
    "prefix": (str,),
    "name": (str,),
    "keys": (list, type(None)),
    "is_bare": (bool,),
    "score_name": (str, type(None)),
    "priority": (int, float, type(None)),
    "shards": (list, type(None)),
}


def encode_record(record: CheckpointRecord) -> bytes:
    """Return the record as text; the names of the objects are left out when they are too many."""
    values: dict[str, Any] = {name: getattr(record, name) for name in _KINDS}
    if record.shards is None:
        del values["shards"]
    text = json.dumps(values, separators=(",", ":")).encode()
    if len(text) > LONGEST_TRAILER_BYTES - 100:
        text = json.dumps({**values, "keys": None}, separators=(",", ":")).encode()
    return text


def trailer_size_bytes(record_text: bytes) -> int:
    """Return the size of the trailer that this record will have."""
    return len(MARK) + len(record_text) + TAIL_BYTES


def encode_trailer(record_text: bytes, checksum: int) -> bytes:
    """Return the end of a file whose other bytes have this checksum."""
    line = MARK + record_text + b" %08x %05d " % (checksum, trailer_size_bytes(record_text))
    return line + b"%08x" % zlib.crc32(line)


def announced_trailer_bytes(end: bytes) -> int | None:
    """Return the size of the trailer that the last bytes of a file announce; None if they announce none."""
    tail = _TAIL.fullmatch(end[-TAIL_BYTES:])
    return int(tail[2]) if tail else None


def decode_trailer(line: bytes) -> Trailer:
    """Read a trailer.

    Raises:
        CheckpointDamagedError: it is not what was written.

    Examples:
        >>> text = encode_record(CheckpointRecord(save_number=3, step=120))
        >>> trailer = decode_trailer(encode_trailer(text, checksum=7))
        >>> trailer.record.save_number, trailer.record.step, trailer.checksum
        (3, 120, 7)
    """
    tail = _TAIL.fullmatch(line[-TAIL_BYTES:])
    if tail is None or int(tail[2]) != len(line) or not line.startswith(MARK):
        raise CheckpointDamagedError("the line at its end is garbled")
    if zlib.crc32(line[:-8]) != int(tail[3], 16):
        raise CheckpointDamagedError("the line at its end does not match its own checksum")
    return Trailer(_decode_record(line[len(MARK) : -TAIL_BYTES]), int(tail[1], 16), len(line))


def _decode_record(text: bytes) -> CheckpointRecord:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointDamagedError("the line at its end is no JSON") from error
    if not isinstance(values, dict):
        raise CheckpointDamagedError("the line at its end holds no object")
    known = {name: values[name] for name in _KINDS if name in values}
    for name, value in known.items():
        if not isinstance(value, _KINDS[name]) or (isinstance(value, bool) and bool not in _KINDS[name]):
            raise CheckpointDamagedError(f"the line at its end has {value!r} for {name!r}")
    if not 0 <= known.get("save_number", 0) < LARGEST_SAVE_NUMBER:
        raise CheckpointDamagedError(f"the line at its end has {known['save_number']!r} for 'save_number'")
    keys = known.get("keys")
    if keys is not None:
        if not all(isinstance(key, str) for key in keys):
            raise CheckpointDamagedError("the line at its end names objects by something else than strings")
        known["keys"] = tuple(keys)
    if known.get("shards") is not None:
        known["shards"] = _decode_shards(known["shards"])
    return CheckpointRecord(**known)


def _decode_shards(value: list[Any]) -> ShardRecord:
    kinds = [type(part) for part in value]
    if kinds != [str, int, str] or set(value[0]) & set("/\\\0") or not value[0].endswith(SHARDS):
        raise CheckpointDamagedError(f"the line at its end has {value!r} for 'shards'")
    return ShardRecord(*value)
