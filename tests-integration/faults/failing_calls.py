"""Let each call to the operating system fail in turn while a checkpoint is saved, or while a saver is made."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import full_disks
from outcome import Outcome
from troubled_save import SETTINGS, Run, Setting, problems_of

from camshaft.engine import EngineWarning
from camshaft.handlers import CheckpointWriteError, DiskSaver

FUNCTIONS = (
    "open", "close", "write", "pwrite", "writev", "pread", "lseek", "ftruncate", "fsync", "fdatasync", "posix_fadvise",
    "stat", "lstat", "fstat", "scandir", "listdir", "replace", "rename", "unlink", "remove", "link", "mkdir",
)  # fmt: skip
ERRORS = (errno.EIO, errno.ENOSPC, errno.EACCES)


class FailingCalls:
    """Makes calls fail that concern one directory: the one of this number, or all from there on."""

    def __init__(self, directory: Path, number: int, error: int, *, goes_on: bool) -> None:
        self.directory = str(directory)
        self.number, self.error, self.goes_on = number, error, goes_on
        self.count = 0
        self.failed: list[str] = []
        self._descriptors: set[int] = set()

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        with contextlib.ExitStack() as patches:
            for name in FUNCTIONS:
                if hasattr(os, name):
                    patches.enter_context(mock.patch.object(os, name, self._failing(name, getattr(os, name))))
            yield

    def _failing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if not arguments or not self._concerns(arguments[0]):
                return real(*arguments, **options)
            self.count += 1
            if self.count == self.number or (self.goes_on and self.count > self.number):
                self.failed.append(name)
                if name == "close":  # which frees the descriptor even then
                    self._descriptors.discard(arguments[0])
                    real(*arguments, **options)
                raise OSError(self.error, os.strerror(self.error), arguments[0] if name == "open" else None)
            result = real(*arguments, **options)
            if name == "open":
                self._descriptors.add(result)
            elif name == "close":
                self._descriptors.discard(arguments[0])
            return result

        return call

    def _concerns(self, where: Any) -> bool:
        if isinstance(where, int):
            return where in self._descriptors
        return isinstance(where, str | os.PathLike) and os.fspath(where).startswith(self.directory)


def failing_calls(settings: Iterable[Setting], errors: Iterable[int]) -> Iterator[list[str]]:
    """Yield what went wrong for each call that was made to fail."""
    for setting, error, goes_on in itertools.product(settings, errors, (False, True)):
        for number in itertools.count(1):
            with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
                warnings.simplefilter("ignore", EngineWarning)
                directory = Path(name).resolve() / "checkpoints"
                run = Run(directory, setting)
                calls = FailingCalls(directory, number, error, goes_on=goes_on)
                found = problems_of(run, calls.failing(), error, goes_on=goes_on)
                run.saver.close()
            if not calls.failed:
                break
            where = f"{setting.name}, {errno.errorcode[error]} of {calls.failed[0]}, number {number}"
            yield [f"{where}{' and all after it' if goes_on else ''}: {problem}" for problem in found]


def failing_starts(errors: Iterable[int]) -> Iterator[list[str]]:
    """Yield what went wrong for each call that failed while a saver was made, in a new directory and in a used one."""
    for error, is_new in itertools.product(errors, (True, False)):
        for number in itertools.count(1):
            with tempfile.TemporaryDirectory() as name:
                directory = Path(name).resolve() / "checkpoints"
                if not is_new:
                    Run(directory, SETTINGS[1]).saver.close()
                calls = FailingCalls(directory.parent, number, error, goes_on=False)
                problem = ""
                try:
                    with calls.failing():
                        DiskSaver(directory, require_empty=False).close()
                except CheckpointWriteError:
                    DiskSaver(directory, require_empty=False).close()
                except OSError as raised:
                    problem = f"raised {raised!r}"
                if directory.exists() and any(path.suffix == ".tmp" for path in directory.iterdir()):
                    problem += "something is left over"
            if not calls.failed:
                break
            place = "a new directory" if is_new else "a used directory"
            yield (
                [f"{place}, {errno.errorcode[error]} of {calls.failed[0]}, number {number}: {problem}"]
                if problem
                else []
            )


def run(full: bool) -> Outcome:
    """Let every call fail in every setting, and fill the disk; in the slice fewer of each."""
    settings = [each for each in SETTINGS if full or each.name in ("n_saved=2", "same name", "asynchronous")]
    errors = ERRORS if full else ERRORS[:1]
    calls = [*failing_calls(settings, errors), *failing_starts(errors)]
    limits = list(full_disks.limited(full_disks.BUDGETS if full else 6))
    disk, told = full_disks.in_a_process() if full else ([], "")
    found = [*calls, *limits, *disk]
    losses = [problem for each in found for problem in each]
    detail = (
        f"{len(calls)} failing calls, {len(limits)} limits of the size of files, {told or f'{len(disk)} full disks'}"
    )
    return Outcome("G8 failing calls", len(found), sum(map(bool, found)), "; ".join([detail, *losses[:5]]))
