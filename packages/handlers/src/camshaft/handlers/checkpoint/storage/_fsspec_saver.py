"""Checkpoints as files of any file system that fsspec knows: S3, Google Cloud, Azure, SFTP, memory and others."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camshaft.handlers.checkpoint._deferred_signals import deferred_signals
from camshaft.handlers.checkpoint.format._file_name import is_temporary, new_temporary_name
from camshaft.handlers.checkpoint.format._payload import require_save_options, write_payload
from camshaft.handlers.checkpoint.format._unsafe_content import unsafe_keys
from camshaft.handlers.checkpoint.storage._background import Background, WhenBusy
from camshaft.handlers.checkpoint.storage._claim import Claim, claim_of
from camshaft.handlers.checkpoint.storage._fsspec_store import FsspecStore
from camshaft.handlers.checkpoint.storage._listing import largest_save_number
from camshaft.handlers.checkpoint.storage._retry import wait
from camshaft.handlers.checkpoint.storage._saver import Saver, as_write_error, require_none

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from camshaft.handlers.checkpoint.format._record import CheckpointRecord
    from camshaft.handlers.checkpoint.storage._background import Saving
    from camshaft.handlers.checkpoint.storage._remote import Entry

_COMPARED_BYTES = 1 << 16


class _DifferentError(OSError):
    """What was uploaded has not arrived as it was."""


class FsspecSaver(FsspecStore, Saver):
    """Keeps checkpoints in a directory with a URL, on any file system that fsspec knows.

    A file is made here first, with its checksum, number and step, as `DiskSaver` does. It is uploaded, read back and
    compared, and looked for in the listing. Only then has the save succeeded, and only then are older ones removed. On
    S3, Google Cloud and Azure it appears as a whole; elsewhere it is uploaded under a temporary name and moved.

    Each request is made a bounded number of times. If all fail, the save fails with `CheckpointWriteError`, and what
    was there before still is.

    The run that saves there last claims the place, with a small file ``.camshaft-writer``. A run that has saved there
    before, and is still running, is refused at its next save and removes nothing any more.

    Args:
        url: The directory, such as ``s3://bucket/run``.
        require_empty: Whether to refuse a directory that holds checkpoints already.
        save_on_rank: The process that writes, among those that train together.
        read_back: Whether to read what was uploaded back and compare. False compares the size only.
        asynchronous, when_busy, timeout_s: As for `DiskSaver`: whether to save in the background.
        storage_options: What the file system of fsspec is to be told, for example the address of a server.
        attempts: How often each request is made, if it fails.
        first_pause_s: Seconds before the second attempt; each pause is twice the one before, and 30 s at most.
        **kwargs: For `torch.save`.

    Raises:
        ArgumentError: the URL is none of a directory of one file system that is installed, or the directory holds
            checkpoints.
        ArgumentTypeError: `torch.save` has no such argument.
        CheckpointWriteError: the directory cannot be written to.
        ExtraMissingError: fsspec is not installed.

    Examples:
        >>> import torch
        >>> saver = FsspecSaver("memory://run")
        >>> saver({"weight": torch.ones(2)}, "model_1.pt")
        >>> [file.path for file in saver.checkpoints()]
        ['memory://run/model_1.pt']
    """

    def __init__(
        self,
        url: str,
        require_empty: bool = True,
        save_on_rank: int = 0,
        *,
        read_back: bool = True,
        asynchronous: bool = False,
        when_busy: WhenBusy = "wait",
        timeout_s: float = 600.0,
        storage_options: Mapping[str, Any] | None = None,
        attempts: int = 5,
        first_pause_s: float = 0.5,
        **kwargs: Any,
    ) -> None:
        background = Background(require_save_options(kwargs), when_busy, timeout_s)
        Saver.__init__(self, save_on_rank, background if asynchronous else None)
        with as_write_error("used", url):
            FsspecStore.__init__(
                self, url, storage_options=storage_options, attempts=attempts, first_pause_s=first_pause_s
            )
        self.save_options = require_save_options(kwargs)
        self.read_back = read_back
        self._is_prepared = False
        if self.is_writer:
            self._prepare(require_empty=require_empty)

    def save(
        self, checkpoint: Any, filename: str, record: CheckpointRecord, saving: Saving | None = None, *, is_first: bool
    ) -> Mapping[str, str] | None:
        """Write a file here, upload it, and look whether it is there; in whichever thread."""
        with as_write_error("written", self.path_of(filename)), _local_file() as (descriptor, local):
            with deferred_signals() as signals, self._turn() as claim:
                # A save that failed may have left its file there all the same: no number comes twice.
                claim.last_number = (claim.last_number or 0) + 1
                numbered, one_thread = replace(record, save_number=claim.last_number), saving is not None
                options = self.save_options
                write_payload(descriptor, checkpoint, numbered, options, filename, one_thread=one_thread)
                signals.handle()
                if saving is not None:
                    saving.raise_if_given_up()
                self._put(local, filename, claim)
                claim.require(self._remote)
            return unsafe_keys(local, checkpoint) if is_first else None

    def _remove_file(self, filename: str) -> None:
        """Remove a file; that it is missing is known where the file system tells."""
        self._remote.remove(filename)

    def close(self) -> None:
        """Wait for a save in the background, and take the claim to the directory back; the next save claims it again.

        Raises:
            CheckpointWriteError: the save in the background has failed, or is not over in time.
        """
        try:
            self.wait()
        finally:
            with deferred_signals():
                claim = claim_of(self._remote)
                with claim.turn:
                    claim.give_up(self._remote)

    def _prepare(self, *, require_empty: bool) -> None:
        with deferred_signals(), as_write_error("used", self.location):
            self._remote.make()
            probe = new_temporary_name()
            self._remote.put_bytes(b"camshaft", probe)
            with contextlib.suppress(FileNotFoundError):  # another run may have taken it for a leftover
                self._remote.remove(probe)
            present = [item.name for item in self._present()] if require_empty else []
        require_none("url", self.location, present)
        self._is_prepared = True

    def _present(self) -> list[Any]:
        with contextlib.suppress(FileNotFoundError):  # an object store has no directory before its first file
            return self.checkpoints()
        return []

    @contextmanager
    def _turn(self) -> Iterator[Claim]:
        """Be the one to write to the directory, and know the number of the last save."""
        if not self._is_prepared:  # it was made before the processes had their ranks
            self._prepare(require_empty=False)
        claim = claim_of(self._remote)
        with claim.turn:
            if claim.hold(self._remote):
                self._remove_leftovers()
            if claim.last_number is None:
                claim.last_number = largest_save_number(self._present())
            yield claim

    def _remove_leftovers(self) -> None:
        for entry in self._remote.entries():
            if entry.is_file and is_temporary(entry.name):
                self._discard(entry.name)

    def _put(self, local: str, filename: str, claim: Claim) -> None:
        """Bring a local file to its place, completely or not at all."""
        earlier = self._remote.find(filename)
        if earlier is not None and not earlier.is_file:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), self.path_of(filename))
        is_direct = self._remote.is_object_store and earlier is None
        target = filename if is_direct else new_temporary_name()
        try:
            self._upload(local, target)
            deferred_signals().handle()
            if not is_direct:
                claim.require(self._remote)  # uploading may have taken long
                self._remote.move(target, filename)
                self._require_same(local, filename, everything=False)
            self._require_listed(filename, Path(local).stat().st_size)
        except BaseException:
            if not is_direct:
                self._discard(target)
            if earlier is None:
                self._discard(filename, claim)
            raise

    def _upload(self, local: str, name: str) -> None:
        """Upload a file until what is there is what was uploaded."""
        for pause in (*self._remote.retry.pauses(), None):
            self._remote.put(local, name)
            try:
                self._require_same(local, name, everything=self.read_back)
            except _DifferentError:
                if pause is None:
                    raise
                wait(pause)
            else:
                return

    def _require_same(self, local: str, name: str, *, everything: bool) -> None:
        """Raise unless a file there is the local one: all of it, or its size and its end."""
        size_bytes = Path(local).stat().st_size
        entry = self._found(name)
        if entry.size_bytes != size_bytes:
            raise _DifferentError(errno.EIO, f"{size_bytes} bytes were uploaded and {entry.size_bytes} are there")
        with Path(local).open("rb") as file:
            if everything:
                is_same = all(file.read(len(block)) == block for block in self._remote.blocks(entry))
            else:
                start = file.seek(max(0, size_bytes - _COMPARED_BYTES))
                is_same = file.read() == self._remote.read(name, start, _COMPARED_BYTES)
        if not is_same:
            raise _DifferentError(errno.EIO, "what is there now is not what was uploaded")

    def _found(self, name: str) -> Entry:
        """Return what is known of a file that was just put there; some stores need a moment."""
        for pause in (*self._remote.retry.pauses(), None):
            entry = self._remote.find(name)
            if entry is not None:
                return entry
            if pause is not None:
                wait(pause)
        raise OSError(errno.EIO, "it was uploaded and cannot be found")

    def _require_listed(self, name: str, size_bytes: int) -> None:
        """Raise unless a run that starts now would find a file: some stores list late."""
        for pause in (*self._remote.retry.pauses(), None):
            with contextlib.suppress(FileNotFoundError):
                if any((entry.name, entry.size_bytes) == (name, size_bytes) for entry in self._remote.entries()):
                    return
            if pause is not None:
                wait(pause)
        raise OSError(errno.EIO, "it was uploaded and is not listed")

    def _discard(self, name: str, claim: Claim | None = None) -> None:
        """Remove a file that is of no use, if that can be done now; what stays does no harm.

        Args:
            name: Its name.
            claim: What has to be ours still: another run may have saved under the same name. None if no other would.
        """
        with contextlib.suppress(Exception):
            once = self._remote.with_one_attempt()
            if claim is not None:
                claim.require(once)
            once.remove(name)


@contextmanager
def _local_file() -> Iterator[tuple[int, str]]:
    """Yield the descriptor of a temporary file and a path to it. Where possible it has no name: a kill leaves none."""
    if Path("/proc/self/fd").exists():
        with tempfile.TemporaryFile(prefix="camshaft-") as file:
            yield file.fileno(), f"/proc/self/fd/{file.fileno()}"
        return
    descriptor, path = tempfile.mkstemp(prefix="camshaft-")
    try:
        yield descriptor, path
    finally:
        os.close(descriptor)
        Path(path).unlink()
