"""One writer per directory: a lock that a process holds on the directory itself.

The lock needs no file of its own, ends with the process however it ends, and is shared by all
savers of a process. A forked worker gives its copy up at once, so that an orphan keeps nobody out.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
import warnings
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from camshaft.engine import EngineWarning, RunningError
from camshaft.handlers.checkpoint._deferred_signals import deferred_signals
from camshaft.handlers.checkpoint._errors import CheckpointInUseError

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable

_HELD_BY_ANOTHER = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
# Another process may be looking for leftovers at this moment, which takes microseconds.
_ATTEMPTS, _PAUSE_S = 20, 0.02


class _Identity(NamedTuple):
    """What tells one directory from another, whatever it is called."""

    device: int
    inode: int


@dataclass
class _Holding:
    """A lock of this process, and what those who share it have in common."""

    descriptor: int
    is_exclusive: bool
    users: int = 0
    last_number: int | None = None
    turn: threading.RLock = field(default_factory=threading.RLock)


class _Holdings:
    """The locks of this process."""

    def __init__(self) -> None:
        self.mutex = threading.RLock()
        self.by_directory: dict[_Identity, _Holding] = {}
        self._is_watching_forks = False

    def take(self, directory: Path, identity: _Identity) -> tuple[_Holding, bool]:
        """Return the lock on a directory with one user more, and whether it is new."""
        self._watch_forks()
        holding = self.by_directory.get(identity)
        is_new = holding is None
        if holding is None:
            holding = self.by_directory[identity] = _Holding(*_locked_descriptor(directory))
        holding.users += 1
        return holding, is_new

    def give_back(self, identity: _Identity, holding: _Holding) -> None:
        """Take one user off a lock; the last one's leaving frees the directory."""
        with deferred_signals(), self.mutex:
            if self.by_directory.get(identity) is not holding:
                return  # a forked process has given up its parent's locks already
            holding.users -= 1
            if holding.users == 0:
                del self.by_directory[identity]
                os.close(holding.descriptor)

    def _watch_forks(self) -> None:
        if not self._is_watching_forks and hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._give_up)
            self._is_watching_forks = True

    def _give_up(self) -> None:
        """Close a forked process's copies; the parent's locks stay."""
        self.mutex = threading.RLock()
        for holding in self.by_directory.values():
            os.close(holding.descriptor)
        self.by_directory.clear()


_holdings = _Holdings()


class DirectoryLock:
    """A share in this process's lock on a directory, from `acquire` to `release`.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     one, two = DirectoryLock(directory), DirectoryLock(directory)
        ...     one.acquire(), two.acquire(), one.acquire()
        ...     one.release(), two.release()
        (True, False, False)
        (None, None)
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self._held: _Holding | None = None
        self._give_back: Callable[[], object] = _do_nothing

    def __reduce__(self) -> tuple[type[DirectoryLock], tuple[Path]]:
        return DirectoryLock, (self.directory,)  # a copy holds nothing

    def acquire(self) -> bool:
        """Take a share, and return whether it is this process's first.

        A directory that was replaced by another of the same name is locked anew. Where the file
        system knows no locks there is a warning instead. The share ends with this object.

        Raises:
            CheckpointInUseError: another process holds the lock; the text names it where possible.
            OSError: the directory cannot be opened.
        """
        identity = _identity_of(self.directory)
        with deferred_signals(), _holdings.mutex:
            if self._held is not None and _holdings.by_directory.get(identity) is self._held:
                return False
            self.release()
            holding, is_new = _holdings.take(self.directory, identity)
            self._held, self._give_back = holding, weakref.finalize(self, _holdings.give_back, identity, holding)
        return is_new

    def release(self) -> None:
        """Give the share back; the process's last one frees the directory. A second call does nothing."""
        with deferred_signals():
            self._give_back()
            self._held, self._give_back = None, _do_nothing

    @property
    def is_exclusive(self) -> bool:
        """Whether no other process can hold the lock now; False on file systems without locks."""
        return self._holding.is_exclusive

    @property
    def last_number(self) -> int | None:
        """Number of the last save under this lock, by whichever saver; None before the first."""
        return self._holding.last_number

    @last_number.setter
    def last_number(self, number: int) -> None:
        self._holding.last_number = number

    @property
    def turn(self) -> threading.RLock:
        """What those who share the lock take turns with."""
        return self._holding.turn

    @property
    def _holding(self) -> _Holding:
        if self._held is None:
            raise RunningError("the lock must be held for this, got one that is not; call acquire() first")
        return self._held


def _do_nothing() -> None:
    """Give back what is not held."""


def holder_of(directory: str | os.PathLike[str]) -> str | None:
    """Return a description of the other process that writes to a directory, None if none is known."""
    pid = _locking_process(_identity_of(Path(directory)))
    if pid is None or pid == os.getpid():
        return None
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return f"process {pid}"
    return f"process {pid} ({command[:120]})" if command else f"process {pid}"


def _identity_of(directory: Path) -> _Identity:
    status = directory.stat()
    return _Identity(status.st_dev, status.st_ino)


def _locked_descriptor(directory: Path) -> tuple[int, bool]:
    """Open the directory and lock it; say whether the lock keeps others out."""
    if sys.platform == "win32":
        return os.open(os.devnull, os.O_RDONLY), False  # directories cannot be opened there
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return descriptor, _lock(descriptor, directory)
    except BaseException:
        os.close(descriptor)
        raise


def _lock(descriptor: int, directory: Path) -> bool:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _HELD_BY_ANOTHER:
                _warn_of_no_locks(directory, error)
                return False
            if attempt == _ATTEMPTS:
                raise _in_use(directory, error) from error
            time.sleep(_PAUSE_S)
        else:
            break
    return True


def _in_use(directory: Path, error: OSError) -> CheckpointInUseError:
    holder = holder_of(directory) or "another process"
    return CheckpointInUseError(
        error.errno,
        f"{holder} writes checkpoints to this directory; wait for its end, stop it, or give another directory",
        str(directory),
    )


def _warn_of_no_locks(directory: Path, error: OSError) -> None:
    warnings.warn(
        f"{directory} lies on a file system without locks ({error.strerror}): nobody will notice when two runs "
        "write checkpoints to it",
        EngineWarning,
        stacklevel=2,
    )


def _locking_process(identity: _Identity) -> int | None:
    """Look the holder of a lock up in what Linux tells about all locks."""
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    wanted = f"{os.major(identity.device):02x}:{os.minor(identity.device):02x}:{identity.inode}"
    for line in lines:
        fields = line.split()
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5] == wanted and fields[4].isdigit():
            return int(fields[4]) or None  # 0 is a process outside this container
    return None
