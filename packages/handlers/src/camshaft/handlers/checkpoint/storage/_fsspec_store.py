"""A directory of a file system that fsspec knows, as a place of checkpoints: listing, verifying and reading them."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from camshaft.handlers.checkpoint.format._file_name import CLAIM_NAME, is_temporary
from camshaft.handlers.checkpoint.format._payload import read_open
from camshaft.handlers.checkpoint.format._record import TAIL_BYTES
from camshaft.handlers.checkpoint.format._verify import look_quickly, verify_open
from camshaft.handlers.checkpoint.storage._listing import EXTENSIONS, CheckpointFile, CheckpointUrl, sorted_by_age
from camshaft.handlers.checkpoint.storage._remote import Entry, RemoteDirectory
from camshaft.handlers.checkpoint.storage._retry import Retry
from camshaft.handlers.checkpoint.storage._store import CheckpointStore, StoredPayload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from camshaft.handlers.checkpoint.format._record import CheckpointRecord

_END_BYTES = 4096  # a record is mostly shorter
_READINGS = 3  # of a file that is replaced while it is read


class FsspecStore(CheckpointStore):
    """Reads the checkpoints of a directory with a URL; `FsspecSaver` saves there as well.

    A function that takes a directory takes its URL too. This class is for what a URL does not say: the options of the
    file system, and how long to try. It changes nothing, so reading rights are enough.

    To verify or load a checkpoint, it is first copied to an unnamed file in the directory for temporary files.

    Args:
        url: The directory, such as ``s3://bucket/run``.
        storage_options: What the file system of fsspec is to be told, for example the address of a server.
        attempts: How often each request is made, if it fails.
        first_pause_s: Seconds before the second attempt; each pause is twice the one before, and 30 s at most.

    Raises:
        ArgumentError: the URL is none of a directory of one file system that is installed.
        ExtraMissingError: fsspec is not installed.

    Examples:
        >>> from camshaft.handlers import FsspecSaver, restore_latest
        >>> FsspecSaver("memory://shown", require_empty=False)({"weight": 1.0}, "model_1.pt")
        >>> store = FsspecStore("memory://shown", attempts=2)
        >>> store.read("model_1.pt").payload
        {'weight': 1.0}
        >>> store.checkpoints()[0].path
        'memory://shown/model_1.pt'
    """

    def __init__(
        self,
        url: str,
        *,
        storage_options: Mapping[str, Any] | None = None,
        attempts: int = 5,
        first_pause_s: float = 0.5,
    ) -> None:
        self._remote = RemoteDirectory(
            url, {} if storage_options is None else storage_options, Retry(attempts, first_pause_s)
        )

    @property
    def location(self) -> str:
        """The URL of the directory."""
        return self._remote.url

    def path_of(self, filename: str) -> CheckpointUrl:
        """Return the URL of a file in the directory."""
        url = self._remote.url
        return CheckpointUrl(f"{url}{filename}" if url.endswith("/") else f"{url}/{filename}")

    def checkpoints(self) -> list[CheckpointFile]:
        """Return the checkpoints of the directory, the newest first.

        These are the files named ``*.pt``, ``*.pth`` or ``*.safetensors``, and files of any name that we wrote.
        The end of each file is read. Directories in this one are not looked into.

        Raises:
            FileNotFoundError: the directory is not there; object stores do not tell that from an empty one.
            ConnectionError: the place does not answer.
            OSError: it cannot be looked into.
        """
        try:
            entries = [entry for entry in self._remote.entries() if _may_be_one(entry)]
        except FileNotFoundError as error:  # some say the path only, some say more
            reason = str(error) if " " in str(error) else os.strerror(errno.ENOENT)
            raise FileNotFoundError(errno.ENOENT, reason, self.location) from error
        found = (self._look_at(entry, end) for entry, end in self._remote.ends(entries, _END_BYTES))
        return sorted_by_age(item for item in found if item is not None)

    def verify(self, filename: str, *, trusted: bool = False) -> CheckpointRecord | None:
        """Copy a file here and check it, as `verify_checkpoint` does."""
        with self._fetched(filename) as descriptor:
            return verify_open(descriptor, self.path_of(filename), trusted=trusted).record

    def read(
        self,
        filename: str,
        to_load: Mapping[str, Any] | None = None,
        *,
        trusted: bool = False,
        map_location: Any = "cpu",
    ) -> StoredPayload:
        """Copy a file here, verify it, and return what it holds."""
        with self._fetched(filename) as descriptor:
            payload, contents = read_open(
                descriptor, self.path_of(filename), trusted=trusted, map_location=map_location
            )
        return StoredPayload(payload, contents.record)

    def has(self, filename: str) -> bool:
        """Return whether there is a file of this name."""
        entry = self._remote.find(filename)
        return entry is not None and entry.is_file

    @contextmanager
    def _fetched(self, filename: str) -> Iterator[int]:
        """Yield the descriptor of a local copy of a file."""
        with tempfile.TemporaryFile(prefix="camshaft-") as file:
            for reading in range(1, _READINGS + 1):
                entry = self._remote.find(filename)
                if entry is None or not entry.is_file:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path_of(filename))
                file.seek(0)
                file.truncate()
                try:
                    file.writelines(self._remote.blocks(entry))
                except OSError:
                    if reading == _READINGS or self._remote.find(filename) == entry:
                        raise
                    continue  # it was replaced meanwhile
                if self._remote.find(filename) == entry:
                    break
            file.flush()
            yield file.fileno()

    def _look_at(self, entry: Entry, end: bytes | Exception) -> CheckpointFile | None:
        has_name = entry.name.endswith(EXTENSIONS)

        def read(offset: int, size_bytes: int) -> bytes:
            start = entry.size_bytes - len(end) if isinstance(end, bytes) else entry.size_bytes
            if isinstance(end, bytes) and offset >= start:
                return end[offset - start : offset - start + size_bytes]
            return self._remote.read(entry.name, offset, size_bytes)

        try:
            record, is_legible = look_quickly(read, entry.size_bytes, entry.name)
        except FileNotFoundError:  # removed in this moment
            return None
        except ConnectionError:
            raise
        except OSError:
            record, is_legible = None, False
        if record is None and not has_name:
            return None
        return CheckpointFile(self.path_of(entry.name), record, is_legible, entry.size_bytes, entry.modified_ns)


def _may_be_one(entry: Entry) -> bool:
    if not entry.is_file or is_temporary(entry.name) or entry.name == CLAIM_NAME:
        return False
    return entry.name.endswith(EXTENSIONS) or entry.size_bytes > TAIL_BYTES
