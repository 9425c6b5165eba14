"""Let the disk be full at any point of a save: by a limit of the size of files, and by a small disk of our own.

`python full_disks.py` prints what went wrong for each number of blocks left on the small disk, as JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from troubled_save import SETTINGS, Run, Setting, problems_of

from camshaft.engine import EngineWarning

BUDGETS = 64
BLOCK_BYTES = 4096
DISK_BYTES = 4 << 20
NO_DISK = 3  # exit status
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
KEPT = [setting for setting in SETTINGS if setting.name in ("n_saved=1", "n_saved=2", "same name", "durable=False")]


class NoDiskError(OSError):
    """A process may not mount a file system here."""


@contextlib.contextmanager
def limited_to(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size; Python has the signal that comes with it ignored."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def limited(budgets: int) -> Iterator[list[str]]:
    """Yield what went wrong for each size that files were limited to."""
    for setting in KEPT:
        with tempfile.TemporaryDirectory() as name:
            run = Run(Path(name) / "checkpoints", setting)
            size_bytes = max(map(len, run.files().values()))
            for count in range(budgets):
                budget = count * (size_bytes - 1) // (budgets - 1)
                found = problems_of(run, limited_to(budget), errno.EFBIG, goes_on=False)
                yield [f"{setting.name}, {budget} bytes: {problem}" for problem in found]
            run.saver.close()


def full_disks(setting: Setting) -> Iterator[list[str]]:
    """Yield what went wrong for each number of blocks that were left on a small disk of our own."""
    with tempfile.TemporaryDirectory() as name, small_disk(Path(name)):
        disk = Path(name)
        run = Run(disk / "checkpoints", setting)
        blocks_needed = -(-max(map(len, run.files().values())) // BLOCK_BYTES)
        for blocks in range(blocks_needed):
            found = problems_of(run, filled_up(disk, blocks), errno.ENOSPC, goes_on=False)
            yield [f"{setting.name}, {blocks} blocks left: {problem}" for problem in found]
        run.saver.close()


@contextlib.contextmanager
def filled_up(disk: Path, blocks: int) -> Iterator[None]:
    """Leave so many blocks on a disk, and no more."""
    status = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes((status.f_bavail - blocks) * status.f_bsize))
    try:
        yield
    finally:
        filler.unlink()


def leave_the_mounts_of_others(libc: ctypes.CDLL) -> None:
    """Let what this process mounts be seen by no other.

    Raises:
        NoDiskError: the system does not allow it.
    """
    _require(libc.unshare(_CLONE_NEWNS | (0 if os.geteuid() == 0 else _CLONE_NEWUSER)))
    _require(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """Mount a small file system on a folder.

    Raises:
        NoDiskError: the system does not allow it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _require(libc.mount(b"tmpfs", str(place).encode(), b"tmpfs", 0, f"size={DISK_BYTES}".encode()))
    try:
        yield
    finally:
        _require(libc.umount(str(place).encode()))


def _require(status: int) -> None:
    if status != 0:
        raise NoDiskError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def in_a_process() -> tuple[list[list[str]], str]:
    """Return what `full_disks` found in a process of its own, or why there is no small disk here."""
    ran = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    if ran.returncode == NO_DISK:
        return [], f"no small disk could be made here ({ran.stderr.strip()})"
    if ran.returncode:
        return [[ran.stderr.strip()]], ""
    found: list[list[str]] = json.loads(ran.stdout)
    return found, ""


def main() -> NoReturn:
    """Fill a small disk, and print what went wrong."""
    warnings.simplefilter("ignore", EngineWarning)
    try:
        leave_the_mounts_of_others(ctypes.CDLL(None, use_errno=True))
        found = [each for setting in KEPT for each in full_disks(setting)]
    except NoDiskError as error:
        sys.stderr.write(str(error))
        sys.exit(NO_DISK)
    sys.stdout.write(json.dumps(found))
    sys.exit()


if __name__ == "__main__":
    main()
