"""Opening and verifying checkpoint files, without PyTorch and before anything in them is unpickled."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from camshaft.handlers.checkpoint._errors import CheckpointDamagedError, CheckpointUnsafeError
from camshaft.handlers.checkpoint.format._archive import (
    END_RECORD_BYTES,
    LOCAL_MARK,
    PICKLE,
    Entry,
    damaged_entries,
    end_record_is_at,
    has_checksums,
    is_end_record,
    read_entries,
    read_first_entry,
)
from camshaft.handlers.checkpoint.format._checksum import checksum_of, read_at
from camshaft.handlers.checkpoint.format._file_name import is_temporary
from camshaft.handlers.checkpoint.format._record import (
    MARK,
    TAIL_BYTES,
    CheckpointRecord,
    Trailer,
    announced_trailer_bytes,
    decode_trailer,
)
from camshaft.handlers.checkpoint.format._safetensors import (
    HEAD_BYTES,
    Head,
    Read,
    checksum_of_tensors,
    has_tensors_name,
    read_head,
    starts_like_tensors,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LONGEST_END_BYTES = 1 << 16
OLD_FORMAT_START = b"\x80"  # of a pickle; from before archives


@dataclass(frozen=True)
class Contents:
    """What is known of a file once it has been verified.

    Attributes:
        record: What it says about itself; None for one that plain `torch.save` wrote.
        entries: The entries of the archive by name; empty for a file in the format from before archives.
        is_verified: False for a trusted file that carries no checksums.
        head: The header of a file of tensors alone, None for other files.
    """

    record: CheckpointRecord | None
    entries: Mapping[str, Entry]
    is_verified: bool = True
    head: Head | None = None


@contextmanager
def opened(path: str | os.PathLike[str], *, trusted: bool = False) -> Iterator[int]:
    """Open a file for reading and yield its descriptor; no link is followed unless trusted.

    Raises:
        CheckpointUnsafeError: it is a link, symbolic or hard, and not trusted, or no regular file.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        descriptor = os.open(path, flags if trusted else flags | getattr(os, "O_NOFOLLOW", 0))
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.EMLINK}:
            raise
        raise CheckpointUnsafeError(f"{path}: it is a symbolic link; give the file itself, or trusted=True") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointUnsafeError(f"{path}: it is no regular file")
        if status.st_nlink > 1 and not trusted and status.st_nlink > 1 + _count_own_links(Path(path), status):
            raise CheckpointUnsafeError(f"{path}: it has {status.st_nlink} names; copy the file, or give trusted=True")
        yield descriptor
    finally:
        os.close(descriptor)


def _count_own_links(path: Path, status: os.stat_result) -> int:
    """Return under how many of our temporary names a file is there too: lost power may leave a rename half done."""
    with os.scandir(path.parent) as entries:
        others = [entry for entry in entries if is_temporary(entry.name) and entry.name != path.name]
        return sum(os.path.samestat(entry.stat(follow_symlinks=False), status) for entry in others)


def read_record(path: str | os.PathLike[str]) -> CheckpointRecord | None:
    """Return what a file says about itself, or None when it says nothing; its content is not looked at.

    Raises:
        CheckpointDamagedError: what it says does not match its own checksum.
        OSError: it cannot be read.
    """
    with opened(path, trusted=True) as descriptor:
        trailer = _read_trailer(descriptor)
    return trailer.record if trailer else None


def read_pickle(descriptor: int) -> bytes:
    """Return the pickle in an archive, as it is; nothing is verified.

    Raises:
        CheckpointDamagedError: there is none.
    """
    trailer = _read_trailer(descriptor)
    content_end = os.fstat(descriptor).st_size - (trailer.size_bytes if trailer else 0)
    entry = read_first_entry(descriptor, content_end)
    if not entry.name.endswith(f"/{PICKLE}"):
        raise CheckpointDamagedError(f"its first entry is {entry.name!r}, not the pickle")
    return read_at(descriptor, entry.start, entry.end - entry.start)


def look_quickly(read: Read, size_bytes: int, filename: str) -> tuple[CheckpointRecord | None, bool]:
    """Return what a file says about itself, and whether it ends as it should; quick, and no proof.

    Args:
        read: ``f(offset, size_bytes)``, gives bytes of the file.
        size_bytes: Size of the file.
        filename: What it is called: a file of tensors alone speaks at its start, the others at their end.

    Raises:
        OSError: it cannot be read.
    """

    def read_end(length: int) -> bytes:
        return read(max(0, size_bytes - length), min(length, size_bytes))

    try:
        if has_tensors_name(filename):
            trailer = read_head(read, size_bytes).trailer
            return (trailer.record if trailer else None), True
        announced = announced_trailer_bytes(read_end(TAIL_BYTES))
        if announced is not None:
            return decode_trailer(read_end(announced)).record, True
        return None, is_end_record(read_end(END_RECORD_BYTES), 0) or read(0, 1) == OLD_FORMAT_START
    except CheckpointDamagedError:
        return None, False


def verify(path: str | os.PathLike[str], *, trusted: bool = False) -> Contents:
    """Check a file, without PyTorch and without running anything in it, and return all that is known of it then.

    Args:
        path: The file.
        trusted: Whether to accept links, and files that carry no checksums.

    Raises:
        CheckpointDamagedError: it is not what was written; the text names the file and says what is wrong.
        CheckpointUnsafeError: it cannot be verified, or is a link, and is not trusted.
        OSError: it cannot be read.
    """
    with opened(path, trusted=trusted) as descriptor:
        return verify_open(descriptor, path, trusted=trusted)


def verify_open(descriptor: int, path: str | os.PathLike[str], *, trusted: bool = False) -> Contents:
    """Do what `verify` does to a file that is open already."""
    try:
        return _verify(descriptor, trusted=trusted)
    except (CheckpointDamagedError, CheckpointUnsafeError) as error:
        raise type(error)(f"{os.fspath(path)}: {error}") from error


def _verify(descriptor: int, *, trusted: bool) -> Contents:
    size_bytes = os.fstat(descriptor).st_size
    if starts_like_tensors(read_at(descriptor, 0, HEAD_BYTES + 1), size_bytes):
        return _verify_tensors(partial(read_at, descriptor), size_bytes, trusted=trusted)
    trailer = _read_trailer(descriptor)
    content_end = size_bytes - (trailer.size_bytes if trailer else 0)
    if trailer and checksum_of(descriptor, content_end) != trailer.checksum:
        raise CheckpointDamagedError("its content does not match its checksum")
    if read_at(descriptor, 0, len(LOCAL_MARK)) != LOCAL_MARK:
        return _old_format(trailer, read_at(descriptor, 0, 1), _end_of(descriptor, _LONGEST_END_BYTES), trusted=trusted)
    if not end_record_is_at(descriptor, content_end - END_RECORD_BYTES, size_bytes - content_end):
        raise CheckpointDamagedError("it does not end like an archive; it may be cut off")
    entries = read_entries(descriptor, content_end)
    if trailer:
        return Contents(trailer.record, entries)
    if not has_checksums(entries):
        if not trusted:
            raise CheckpointUnsafeError("it was written without checksums and cannot be verified; give trusted=True")
        return Contents(None, entries, is_verified=False)
    damaged = damaged_entries(descriptor, entries)
    if damaged:
        raise CheckpointDamagedError(
            f"{len(damaged)} of its {len(entries)} entries changed, the first is {damaged[0]!r}"
        )
    return Contents(None, entries)


def _verify_tensors(read: Read, size_bytes: int, *, trusted: bool) -> Contents:
    head = read_head(read, size_bytes)
    trailer = head.trailer
    if trailer is None:
        if not trusted:
            raise CheckpointUnsafeError("it was written without a checksum and cannot be verified; give trusted=True")
        return Contents(None, {}, is_verified=False, head=head)
    if checksum_of_tensors(read, head) != trailer.checksum:
        raise CheckpointDamagedError("its content does not match its checksum")
    return Contents(trailer.record, {}, head=head)


def _old_format(trailer: Trailer | None, start: bytes, end: bytes, *, trusted: bool) -> Contents:
    """Judge a file that is no archive: PyTorch's format from before archives, or anything else."""
    if trailer is None and MARK in end:
        raise CheckpointDamagedError("the line at its end is cut off or changed")
    if trailer is None and start != OLD_FORMAT_START:
        raise CheckpointDamagedError("it is no checkpoint at all" if start else "it is empty")
    if not trusted:
        raise CheckpointUnsafeError("it is no archive, so its structure cannot be verified; give trusted=True")
    return Contents(trailer.record if trailer else None, {}, is_verified=trailer is not None)


def _read_trailer(descriptor: int) -> Trailer | None:
    announced = announced_trailer_bytes(_end_of(descriptor, TAIL_BYTES))
    return None if announced is None else decode_trailer(_end_of(descriptor, announced))


def _end_of(descriptor: int, size_bytes: int) -> bytes:
    return read_at(descriptor, max(0, os.fstat(descriptor).st_size - size_bytes), size_bytes)
