"""The folder beside a checkpoint file that holds its shards: a list of its files, with size and hash of each.

The file says which folder it is, and has the hash of the list. So nothing can be exchanged without being noticed.
Nothing here needs PyTorch.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path

from camshaft.handlers.checkpoint._errors import CheckpointDamagedError, CheckpointUnsafeError
from camshaft.handlers.checkpoint.format._checksum import read_at
from camshaft.handlers.checkpoint.format._record import ShardRecord
from camshaft.handlers.checkpoint.format._verify import opened
from camshaft.handlers.checkpoint.storage._durable import sync_directory, sync_file

LIST = "files.json"
_BLOCK = 1 << 20
Sum = tuple[int, str]  # size in bytes, and hash


def sum_of(path: Path, *, sync: bool = False, trusted: bool = False) -> Sum:
    """Return size and hash of a file.

    Args:
        path: The file.
        sync: Whether to bring it to the disk.
        trusted: Whether to follow links.

    Raises:
        CheckpointUnsafeError: it is a link, and not trusted.
        OSError: it cannot be read.
    """
    digest, size_bytes = blake2b(digest_size=32), 0
    with opened(path, trusted=trusted) as descriptor:
        while block := read_at(descriptor, size_bytes, _BLOCK):
            digest.update(block)
            size_bytes += len(block)
        if sync:
            sync_file(descriptor)
    if sync:
        sync_directory(path.parent)
    return size_bytes, digest.hexdigest()


def write_list(folder: Path, sums: Iterable[Mapping[str, Sum]]) -> ShardRecord:
    """Write the list of the files of a folder, and return what the checkpoint file is to say about it.

    Args:
        folder: The folder.
        sums: Size and hash of each file, as each process has them.

    Raises:
        OSError: a file is there that no process has, or the other way round.
    """
    files = {name: found for each in sums for name, found in each.items()}
    there = {path.name for path in folder.iterdir()}
    if there != set(files):
        raise OSError(errno.EIO, f"the processes have written {sorted(files)}, and there are {sorted(there)}")
    with (folder / LIST).open("x", encoding="utf-8") as file:
        json.dump(files, file)
    _, digest = sum_of(folder / LIST, sync=True)
    return ShardRecord(folder.name, sum(size_bytes for size_bytes, _ in files.values()), digest)


def read_list(folder: Path, told: ShardRecord, *, trusted: bool = False) -> dict[str, Sum]:
    """Return size and hash of each file of a folder.

    Raises:
        CheckpointDamagedError: the list is not what was written, or is missing.
        CheckpointUnsafeError: the folder is a link, and not trusted.
    """
    if folder.is_symlink() and not trusted:
        raise CheckpointUnsafeError(f"{folder}: it is a symbolic link; give trusted=True to follow it")
    if not folder.exists():
        raise CheckpointDamagedError(f"{folder}: it is missing")
    _require_sum(folder / LIST, (None, told.digest), trusted=trusted)
    found = json.loads((folder / LIST).read_bytes())
    return {name: (size_bytes, digest) for name, (size_bytes, digest) in found.items() if _is_bare(name)}


def look_at_folder(directory: Path, told: ShardRecord) -> None:
    """Raise if a folder of shards is plainly not what was written; their content is not read.

    Args:
        directory: Where it lies, beside its file.
        told: What the file says about it.

    Raises:
        CheckpointDamagedError: a shard, or the list of all, is missing, or has another size.
        CheckpointUnsafeError: the folder is a link.
        OSError: it cannot be looked at.
    """
    folder = directory / told.folder
    for name, (size_bytes, _) in sorted(read_list(folder, told).items()):
        try:
            found = (folder / name).stat().st_size
        except FileNotFoundError:
            raise CheckpointDamagedError(f"{folder / name}: it is missing") from None
        if found != size_bytes:
            raise CheckpointDamagedError(f"{folder / name}: it has {found} bytes in place of {size_bytes}")


def require_files(folder: Path, names: Iterable[str], files: Mapping[str, Sum], *, trusted: bool = False) -> None:
    """Raise unless some files of a folder are what was written.

    Raises:
        CheckpointDamagedError: one is not, or is missing.
        CheckpointUnsafeError: one is a link, and not trusted.
    """
    for name in sorted(names):
        if name not in files:
            raise CheckpointDamagedError(f"{folder / name}: it is not in the list of files")
        _require_sum(folder / name, files[name], trusted=trusted)


def verify_folder(directory: Path, told: ShardRecord, *, trusted: bool = False) -> None:
    """Raise unless a folder of shards is what was written.

    Args:
        directory: Where it lies, beside its file.
        told: What the file says about it.
        trusted: Whether to follow links.

    Raises:
        CheckpointDamagedError: it is not, or something is missing.
        CheckpointUnsafeError: something is a link, and not trusted.
    """
    folder = directory / told.folder
    files = read_list(folder, told, trusted=trusted)
    require_files(folder, files, files, trusted=trusted)


def _require_sum(path: Path, wanted: tuple[int | None, str], *, trusted: bool) -> None:
    try:
        size_bytes, digest = sum_of(path, trusted=trusted)
    except FileNotFoundError:
        raise CheckpointDamagedError(f"{path}: it is missing") from None
    if digest != wanted[1] or wanted[0] not in (None, size_bytes):
        raise CheckpointDamagedError(f"{path}: its content is not what was written")


def _is_bare(name: str) -> bool:
    return os.path.basename(name) == name  # noqa: PTH119 - it is about the name
