"""Files that are written completely or not at all, and survive a loss of power.

Every function raises the `OSError` of the operating system as it is.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from camshaft.handlers.checkpoint._deferred_signals import deferred_signals
from camshaft.handlers.checkpoint.format._file_name import is_temporary, new_temporary_name

if TYPE_CHECKING:
    from collections.abc import Iterator

# Exclusive creation follows no link at the last part of a path; NOFOLLOW says so where it exists.
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL
_CREATE |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_FILE_MODE = 0o666  # the kernel takes the umask off


def make_directory(path: Path) -> None:
    """Make a directory and those above it that are missing; all of them survive a loss of power."""
    missing = [path]
    while not missing[-1].parent.exists():
        missing.append(missing[-1].parent)
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


@contextmanager
def replacing(final: Path, *, durable: bool) -> Iterator[int]:
    """Yield the descriptor of a new file that takes the place of `final` when the block is over.

    Until then it has a temporary name, and none at all if the block raises. An earlier file of the
    name is replaced in one step; what a link of that name leads to stays as it is. Signals wait; a handler that
    raises ends all this before the file has its final name, or after everything is done.
    """
    with deferred_signals() as signals:
        temporary = _temporary_path(final.parent)
        descriptor = os.open(temporary, _CREATE, _FILE_MODE)
        try:
            try:
                yield descriptor
                if durable:
                    sync_file(descriptor)
            finally:
                os.close(descriptor)
            signals.handle()
            _publish(temporary, final, durable=durable)
        except BaseException:
            with contextlib.suppress(OSError):  # then the next run removes it
                temporary.unlink(missing_ok=True)
            raise


@contextmanager
def writing_in_place(final: Path, *, durable: bool) -> Iterator[int]:
    """Yield the descriptor of a new file that has its final name from the start, complete or not."""
    with deferred_signals():
        final.unlink(missing_ok=True)
        descriptor = os.open(final, _CREATE, _FILE_MODE)
        try:
            yield descriptor
            if durable:
                sync_file(descriptor)
        finally:
            os.close(descriptor)
        if durable:
            sync_directory(final.parent)


def require_writable(directory: Path) -> None:
    """Create a file in a directory and remove it again.

    Raises:
        OSError: the directory takes no files.
    """
    with deferred_signals():
        path = _temporary_path(directory)
        descriptor = os.open(path, _CREATE, _FILE_MODE)
        try:
            os.close(descriptor)
        finally:
            # Somebody else may take it for a leftover: then it is gone, and has shown what it was for.
            path.unlink(missing_ok=True)


def _temporary_path(directory: Path) -> Path:
    return directory / new_temporary_name()


def sync_file(descriptor: int) -> None:
    """Wait until the content of an open file is on the disk."""
    if sys.platform == "darwin":
        import fcntl

        # There fsync leaves the data in the disk's own cache.
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        return
    os.fsync(descriptor)


def leave_memory(path: Path) -> None:
    """Let the kernel drop a file that is on the disk from its cache; only a hint, so a missing file is no error."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk; Windows has no such call."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(temporary: Path, final: Path, *, durable: bool) -> None:
    """Give a complete file its final name; take a new name back when the disk does not confirm it."""
    is_new = not os.path.lexists(final)
    temporary.replace(final)
    if not durable:
        return
    try:
        sync_directory(final.parent)
    except OSError:
        if is_new:
            final.unlink(missing_ok=True)
        raise


def remove_leftovers(directory: Path) -> list[str]:
    """Remove the temporary files that killed processes left behind, and return their names.

    Call it only while nobody else can be writing to the directory. Links and directories of such
    a name stay.
    """
    removed = []
    with os.scandir(directory) as entries:
        leftovers = [entry for entry in entries if is_temporary(entry.name)]
    for entry in leftovers:
        # Another process may be removing the same ones.
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                Path(entry.path).unlink()
                removed.append(entry.name)
    return removed
