"""A record of what a process does to the files below one directory, in the order in which it does it.

Before and after each call of `os` that concerns files the directory is looked through, so that what is written past
`os`, by torch's own writer or through mapped memory, is recorded as well. Only what makes things last has to be seen
as a call: `fsync`; a change of a file is on the disk only when such a call followed it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

WATCHED = ("open", "write", "pwrite", "writev", "close", "fsync", "fdatasync", "replace", "rename", "unlink", "remove",
           "link", "mkdir", "rmdir", "ftruncate", "truncate")  # fmt: skip


class Link(NamedTuple):
    """A name appears, of a file or, if there is none, of a directory."""

    path: str
    file: int | None


class Unlink(NamedTuple):
    """A name disappears."""

    path: str


class Rename(NamedTuple):
    """A name takes the place of another."""

    source: str
    target: str
    file: int | None


class Write(NamedTuple):
    """A file has another content than before."""

    file: int
    content: bytes


class SyncFile(NamedTuple):
    """The content of a file is on the disk."""

    file: int


class SyncDirectory(NamedTuple):
    """The names in a directory are on the disk."""

    path: str


class Promise(NamedTuple):
    """From here on what is restored must be of this step or a later one."""

    step: int


Call = Link | Unlink | Rename | Write | SyncFile | SyncDirectory | Promise


class _Found(NamedTuple):
    inode: int
    content: bytes | None  # None for a directory


class Recorder:
    """The calls so far, and the files as they were when last looked at."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[Call] = []
        self._last = self._look()
        self._file_of: dict[int, int] = {}
        self._count = 0
        self._turn = threading.RLock()
        if self._last:
            raise ValueError(f"`root` must be empty, got {sorted(self._last)}; record from the beginning")

    def promise(self, step: int) -> None:
        """Note that a save of this step has returned."""
        self._notice()
        self.calls.append(Promise(step))

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record what happens in the block."""
        real = {name: getattr(os, name) for name in WATCHED if hasattr(os, name)}
        with contextlib.ExitStack() as patches:
            for name, function in real.items():
                patches.enter_context(mock.patch.object(os, name, self._watched(name, function)))
            yield
        self._notice()

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def call(*arguments: Any, **options: Any) -> Any:
            with self._turn:
                self._notice()
                result = real(*arguments, **options)
                if name in ("rename", "replace"):
                    self._notice(renamed=(self._inside(arguments[0]), self._inside(arguments[1])))
                else:
                    self._notice()
                if name in ("fsync", "fdatasync"):
                    self._note_sync(arguments[0])
                return result

        return call

    def _inside(self, path: Any) -> str:
        return os.path.relpath(os.fspath(path), self.root)

    def _note_sync(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if not stat.S_ISDIR(status.st_mode):
            self.calls.append(SyncFile(self._file_of[status.st_ino]))
        elif status.st_ino == self.root.stat().st_ino:
            self.calls.append(SyncDirectory("."))
        else:
            paths = [path for path, found in self._last.items() if found.inode == status.st_ino]
            self.calls += [SyncDirectory(path) for path in paths]

    def _look(self) -> dict[str, _Found]:
        found = {}
        for path in sorted(self.root.rglob("*")):
            content = None if path.is_dir() else path.read_bytes()
            found[str(path.relative_to(self.root))] = _Found(path.lstat().st_ino, content)
        return found

    def _notice(self, renamed: tuple[str, str] | None = None) -> None:
        """Record how the files differ from when they were last looked at."""
        before, now = dict(self._last), self._look()
        if renamed and renamed[0] in before and now.get(renamed[1], _Found(0, None)).inode == before[renamed[0]].inode:
            source, target = renamed
            before[target] = before.pop(source)
            self.calls.append(Rename(source, target, self._file_of.get(before[target].inode)))
        for path in [path for path, found in before.items() if path not in now or now[path].inode != found.inode]:
            del before[path]
            self.calls.append(Unlink(path))
        for inode in set(self._file_of) - {found.inode for found in before.values()}:
            del self._file_of[inode]  # the number may be given to another file
        for path, found in now.items():
            if path not in before:
                self.calls.append(Link(path, None if found.content is None else self._number(found.inode)))
            if found.content and found.content != before.get(path, found._replace(content=None)).content:
                self.calls.append(Write(self._file_of[found.inode], found.content))
        self._last = now

    def _number(self, inode: int) -> int:
        if inode not in self._file_of:
            self._count += 1
            self._file_of[inode] = self._count
        return self._file_of[inode]
