"""Checkpoints as files in one directory."""

from __future__ import annotations

import errno
import logging
import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camshaft.engine import ArgumentError
from camshaft.handlers._local_path import is_url
from camshaft.handlers.checkpoint._deferred_signals import deferred_signals
from camshaft.handlers.checkpoint._errors import CheckpointInUseError
from camshaft.handlers.checkpoint.format._payload import require_save_options, write_payload
from camshaft.handlers.checkpoint.format._unsafe_content import unsafe_keys
from camshaft.handlers.checkpoint.storage._background import Background, WhenBusy
from camshaft.handlers.checkpoint.storage._directory import DirectoryStore
from camshaft.handlers.checkpoint.storage._durable import (
    leave_memory,
    make_directory,
    remove_leftovers,
    replacing,
    require_writable,
    sync_directory,
    writing_in_place,
)
from camshaft.handlers.checkpoint.storage._listing import largest_save_number
from camshaft.handlers.checkpoint.storage._lock import DirectoryLock, holder_of
from camshaft.handlers.checkpoint.storage._saver import Saver, as_write_error, require_none

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from camshaft.handlers.checkpoint.format._record import CheckpointRecord
    from camshaft.handlers.checkpoint.storage._background import Saving

_logger = logging.getLogger("camshaft.handlers.checkpoint")


class DiskSaver(DirectoryStore, Saver):
    """Keeps checkpoints as files in a directory, so that none is lost and none is incomplete.

    A file is written under a temporary name, brought to the disk, and only then given its own name:
    once a save has returned, the checkpoint survives a kill and a loss of power. It holds its own
    checksum, a save number that grows with every save into the directory, and the step. Plain
    `torch.load` reads it. The directory holds nothing else, but for one temporary file while
    writing. Such files that killed runs left behind are removed when a saver is made.

    Saving takes a lock on the directory for as long as the saver lives. A second process that saves
    there is refused; all savers of one process share the lock. Reading takes none.

    Args:
        dirname: The directory; ``~`` is your home.
        atomic: False writes right under the final name, and promises nothing.
        create_dir: Whether to make a missing directory.
        require_empty: Whether to refuse a directory that holds checkpoints already.
        save_on_rank: The process that writes, among those that train together.
        durable: Whether to wait until the disk has the file. Without that a checkpoint survives a kill, but maybe
            not a loss of power.
        asynchronous: Whether to write in the background. A save copies the checkpoint, into memory that is used again,
            and returns. What a `Checkpoint` does after a save, it then does at the first safe point after the file is
            written. The end of a run, and of the program, waits for it.
        when_busy: What to do about a save that is asked for while another one is written: ``"wait"`` for that, or
            ``"skip"`` the new one. A `Checkpoint` skips none at the end of a run, nor with several processes.
        timeout_s: How long to wait for a save in the background, in seconds; then it has failed.
        **kwargs: For `torch.save`.

    Raises:
        ArgumentError: the directory is missing, or holds checkpoints; how to go on is in the text. `when_busy` or
            `timeout_s` is out of range.
        ArgumentTypeError: `torch.save` has no such argument, or `timeout_s` is no number.
        CheckpointWriteError: the directory cannot be written to.

    Examples:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     saver = DiskSaver(directory)
        ...     saver({"weight": torch.ones(2)}, "model_1.pt")
        ...     torch.load(saver.dirname / "model_1.pt")
        {'weight': tensor([1., 1.])}
    """

    def __init__(
        self,
        dirname: str | os.PathLike[str],
        atomic: bool = True,
        create_dir: bool = True,
        require_empty: bool = True,
        save_on_rank: int = 0,
        *,
        durable: bool = True,
        asynchronous: bool = False,
        when_busy: WhenBusy = "wait",
        timeout_s: float = 600.0,
        **kwargs: Any,
    ) -> None:
        if is_url(dirname):
            raise ArgumentError(f"`dirname` must be a path of this machine, got {dirname!r}; use FsspecSaver for a URL")
        background = Background(require_save_options(kwargs), when_busy, timeout_s)
        Saver.__init__(self, save_on_rank, background if asynchronous else None)
        DirectoryStore.__init__(self, os.path.abspath(Path(dirname).expanduser()))  # noqa: PTH100 - resolve() would follow links
        self.atomic = atomic
        self.durable = durable
        self.save_options = require_save_options(kwargs)
        self._last_path: Path | None = None
        self._lock = DirectoryLock(self.dirname)
        self._create_dir, self._is_prepared = create_dir, False
        if self.is_writer:
            self._prepare(require_empty=require_empty)

    def save(
        self, checkpoint: Any, filename: str, record: CheckpointRecord, saving: Saving | None = None, *, is_first: bool
    ) -> Mapping[str, str] | None:
        """Write a file, bring it to the disk, and give it its name; in whichever thread."""
        path = self.dirname / filename
        with deferred_signals(), as_write_error("written", path):
            with self._turn():
                self._lock.last_number = number = (self._lock.last_number or 0) + 1
            self._write(checkpoint, path, replace(record, save_number=number), saving)
            self._last_path = path
        return unsafe_keys(path, checkpoint) if is_first else None

    def _remove_file(self, filename: str) -> None:
        """Remove a file; a link is removed itself, not what it leads to."""
        (self.dirname / filename).unlink()
        if self.durable:
            sync_directory(self.dirname)

    def close(self) -> None:
        """Wait for a save in the background, and let other processes write to the directory.

        The next save takes the lock again.

        Raises:
            CheckpointWriteError: the save in the background has failed, or is not over in time.
        """
        try:
            self.wait()
        finally:
            self._lock.release()

    def _prepare(self, *, require_empty: bool) -> None:
        with deferred_signals(), as_write_error("used", self.dirname):
            if not self.dirname.exists():
                if not self._create_dir:
                    raise ArgumentError(
                        f"`dirname` must exist, got {str(self.dirname)!r}; make the directory, or give create_dir=True"
                    )
                make_directory(self.dirname)
            self._tidy_up()
            require_writable(self.dirname)
            present = [item.name for item in self.checkpoints()] if require_empty else []
        require_none("dirname", str(self.dirname), present)
        self._is_prepared = True

    def _tidy_up(self) -> None:
        """Remove what killed runs left, unless somebody may be writing just now."""
        holder = holder_of(self.dirname)
        if holder is None:
            lock = DirectoryLock(self.dirname)
            try:
                if lock.acquire() and lock.is_exclusive:
                    with lock.turn:  # a saver of another thread may share the lock by now
                        if lock.last_number is None:
                            remove_leftovers(self.dirname)
            except CheckpointInUseError:
                holder = "another process"
            finally:
                lock.release()
        if holder is not None:
            _logger.warning("%s writes checkpoints to %s; saving there will be refused", holder, self.dirname)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Be the only one to write to the directory, and know the number of the last save."""
        if not self._is_prepared:  # it was made before the processes had their ranks
            self._prepare(require_empty=False)
        self._lock.acquire()
        with self._lock.turn:
            if self._lock.last_number is None:
                if self._lock.is_exclusive:
                    remove_leftovers(self.dirname)
                self._lock.last_number = largest_save_number(self.checkpoints())
            yield

    def _write(self, checkpoint: Any, path: Path, record: CheckpointRecord, saving: Saving | None) -> None:
        if self._last_path is not None:
            leave_memory(self._last_path)  # room for the new one: finding other room may take longer than writing
        way = replacing if self.atomic else writing_in_place
        with way(path, durable=self.durable) as descriptor:
            options, one_thread = self.save_options, saving is not None
            size_bytes = write_payload(descriptor, checkpoint, record, options, path.name, one_thread=one_thread)
            on_disk = os.fstat(descriptor).st_size
            if on_disk != size_bytes:
                raise OSError(errno.EIO, f"{size_bytes} bytes were written and {on_disk} are there")
            if saving is not None:
                saving.raise_if_given_up()
