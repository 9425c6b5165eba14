"""A directory of this machine as a place of checkpoints: listing, verifying and reading its files."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camshaft.handlers.checkpoint._errors import CheckpointUnsafeError
from camshaft.handlers.checkpoint.format._checksum import read_at
from camshaft.handlers.checkpoint.format._file_name import is_temporary
from camshaft.handlers.checkpoint.format._payload import read_payload
from camshaft.handlers.checkpoint.format._verify import look_quickly, opened, verify
from camshaft.handlers.checkpoint.storage._listing import EXTENSIONS, CheckpointFile, sorted_by_age
from camshaft.handlers.checkpoint.storage._shard_folder import verify_folder
from camshaft.handlers.checkpoint.storage._store import CheckpointStore, StoredPayload

if TYPE_CHECKING:
    from collections.abc import Mapping

    from camshaft.handlers.checkpoint.format._record import CheckpointRecord


class DirectoryStore(CheckpointStore):
    """Reads the checkpoints of a directory. Changes nothing and takes no lock; `DiskSaver` adds the saving.

    Args:
        dirname: The directory.
    """

    def __init__(self, dirname: str | os.PathLike[str]) -> None:
        self.dirname = Path(dirname)

    @property
    def location(self) -> str:
        """The path of the directory."""
        return str(self.dirname)

    def path_of(self, filename: str) -> Path:
        """Return the path of a file in the directory."""
        return self.dirname / filename

    def checkpoints(self) -> list[CheckpointFile]:
        """Return the checkpoints of the directory, the newest first.

        These are the files named ``*.pt``, ``*.pth`` or ``*.safetensors``, and files of any name that we wrote.
        Links are listed too, but not followed. Directories in this one are not looked into.
        """
        with os.scandir(self.dirname) as entries:
            paths = [Path(entry.path) for entry in entries if not is_temporary(entry.name)]
        return sorted_by_age(item for item in map(_look_at, paths) if item is not None)

    def verify(self, filename: str, *, trusted: bool = False) -> CheckpointRecord | None:
        """Check a file, as `verify_checkpoint` does, and the folder with its shards, if it has one."""
        record = verify(self.path_of(filename), trusted=trusted).record
        if record is not None and record.shards is not None:
            verify_folder(self.dirname, record.shards, trusted=trusted)
        return record

    def read(
        self,
        filename: str,
        to_load: Mapping[str, Any] | None = None,
        *,
        trusted: bool = False,
        map_location: Any = "cpu",
    ) -> StoredPayload:
        """Verify a file, and return what it holds.

        Sharded tensors come as `to_load` has them laid out; each process reads and verifies the files that it needs.
        Those that are not asked for are left out.
        """
        payload, contents = read_payload(self.path_of(filename), trusted=trusted, map_location=map_location)
        record = contents.record
        if record is not None and record.shards is not None:
            from camshaft.handlers.checkpoint.storage import _shards  # which needs torch.distributed

            payload = _shards.fill(payload, self.dirname, record, to_load or {}, trusted=trusted)
        return StoredPayload(payload, record)

    def has(self, filename: str) -> bool:
        """Return whether there is a file of this name that is no link."""
        path = self.path_of(filename)
        return path.is_file() and not path.is_symlink()


def _look_at(path: Path) -> CheckpointFile | None:
    try:
        status = path.lstat()
    except FileNotFoundError:  # removed in this moment
        return None
    has_name = path.name.endswith(EXTENSIONS)
    if not stat.S_ISREG(status.st_mode):
        is_link = stat.S_ISLNK(status.st_mode)
        return CheckpointFile(path, None, True, status.st_size, status.st_mtime_ns) if has_name and is_link else None
    record, is_legible = _read(path)
    if record is None and not has_name:
        return None
    apart_bytes = 0 if record is None or record.shards is None else record.shards.size_bytes
    return CheckpointFile(path, record, is_legible, status.st_size + apart_bytes, status.st_mtime_ns)


def _read(path: Path) -> tuple[CheckpointRecord | None, bool]:
    """Return what a file says about itself, and whether it ends as it should."""
    try:
        with opened(path, trusted=True) as descriptor:
            return look_quickly(partial(read_at, descriptor), os.fstat(descriptor).st_size, path.name)
    except (CheckpointUnsafeError, OSError):
        return None, False
