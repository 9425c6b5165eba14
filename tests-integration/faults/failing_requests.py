"""Let each request to a remote file system fail in turn while a checkpoint is saved, restored, or a saver is made.

A request that fails once is made again and nobody notices. One that fails for good ends the save with one kind of
error, and the files and the list stay as they were.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import fsspec
import torch
from fsspec.implementations.memory import MemoryFileSystem
from outcome import Outcome
from torch import nn
from troubled_save import MORE_WIDTH, SETTINGS, Run, Setting, problems_of
from ways_to_save import model_of

from camshaft.engine import EngineWarning
from camshaft.handlers import (
    Checkpoint,
    CheckpointError,
    CheckpointWriteError,
    FsspecSaver,
    FsspecStore,
    restore_latest,
)

REQUESTS = ("ls", "info", "cat_file", "put_file", "pipe_file", "cp_file", "mv", "rm", "rm_file", "makedirs")
CLAIM, FOREIGN = ".camshaft-writer", "notes.txt"
# The request is refused; it is done and no answer comes; half of the file arrives; the file arrives changed.
KINDS = ("refused", "unanswered", "cut", "garbled")
ATTEMPTS = 3


class Fault(NamedTuple):
    """Which request fails, and how: the one of this number, or all from there on."""

    number: int
    kind: str
    goes_on: bool


class FailingSystem(MemoryFileSystem):  # type: ignore[misc] # fsspec has no types
    """A file system in memory. Its requests fail as they are told to; those inside of others count too."""

    protocol: ClassVar[Any] = "failing"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    fault: ClassVar[Fault | None] = None
    count: ClassVar[int] = 0
    failed: ClassVar[list[str]] = []
    cachable = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.rpartition("://")[2]))  # noqa: SLF001 - its base class


class FailingObjects(FailingSystem):
    """The same, taken for an object store: what is put there appears as a whole."""

    protocol: ClassVar[Any] = ("failing-s3", "s3")
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]


def _failing(name: str) -> Callable[..., Any]:
    real = getattr(MemoryFileSystem, name)

    def request(self: FailingSystem, *arguments: Any, **options: Any) -> Any:
        fault = FailingSystem.fault
        FailingSystem.count += fault is not None
        hits = fault is not None and (
            FailingSystem.count == fault.number or (fault.goes_on and FailingSystem.count > fault.number)
        )
        if not hits or fault is None or (fault.kind == "garbled" and name not in ("put_file", "pipe_file")):
            return real(self, *arguments, **options)
        FailingSystem.failed.append(name)
        if fault.kind == "unanswered":
            real(self, *arguments, **options)
        if name in ("put_file", "pipe_file"):
            target = arguments[1] if name == "put_file" else arguments[0]
            if fault.kind == "cut" and not isinstance(self, FailingObjects):
                real(self, *arguments, **options)
                _change(self, target, lambda content: content[: len(content) // 2])
            if fault.kind == "garbled":
                result = real(self, *arguments, **options)
                _change(self, target, lambda content: bytes((content[0] ^ 1,)) + content[1:])
                return result
        raise ConnectionResetError(errno.EIO, "the connection was lost")

    return request


def _change(system: FailingSystem, path: str, change: Callable[[bytes], bytes]) -> None:
    file = system.store[system._strip_protocol(path)]  # noqa: SLF001 - of its own class
    content = change(bytes(file.getbuffer()))
    file.seek(0)
    file.truncate()
    file.write(content)


for _name in REQUESTS:
    setattr(FailingSystem, _name, _failing(_name))
SYSTEMS: dict[str, type[FailingSystem]] = {"failing": FailingSystem, "failing-s3": FailingObjects}
for _protocol, _system in SYSTEMS.items():
    fsspec.register_implementation(_protocol, _system, clobber=True)


class RemoteRun(Run):
    """A remote directory in which some steps have been saved, and the handler that saves the next ones."""

    def __init__(self, protocol: str, setting: Setting) -> None:
        self.system = SYSTEMS[protocol]
        self.system.store.clear()
        self.url = f"{protocol}://place/run"
        self.system().pipe_file(f"/place/run/{FOREIGN}", b"of somebody else")
        super().__init__(self.url, setting)  # type: ignore[arg-type] # the name of a place all the same

    def start(self) -> None:
        self.remote = FsspecSaver(self.url, require_empty=False, attempts=ATTEMPTS, first_pause_s=0)
        objects = {"model": self.model, "more": nn.Linear(MORE_WIDTH, MORE_WIDTH)}
        self.handler = Checkpoint(objects, self.remote, **self.setting.options)

    def restart(self) -> None:
        self.remote.close()
        self.start()
        if any(not name.endswith(".tmp") for name in self.files()):
            self.step = int(self.handler.restore_latest().step or 0)  # a save that failed may have arrived

    def files(self) -> dict[str, bytes]:
        files = {path.rpartition("/")[2]: bytes(file.getbuffer()) for path, file in self.system.store.items()}
        return {name: content for name, content in files.items() if name not in (CLAIM, FOREIGN)}


@contextlib.contextmanager
def failing(fault: Fault) -> Iterator[None]:
    """Let requests fail in a block."""
    FailingSystem.fault, FailingSystem.count, FailingSystem.failed = fault, 0, []
    try:
        yield
    finally:
        FailingSystem.fault = None


def failing_saves(
    settings: Iterable[Setting], kinds: Iterable[str], *, is_new_claim: bool = False
) -> Iterator[list[str]]:
    """Yield what went wrong for each request of a save that was made to fail."""
    for protocol, setting, kind, goes_on in itertools.product(SYSTEMS, settings, kinds, (False, True)):
        for number in itertools.count(1):
            run = RemoteRun(protocol, setting)
            if is_new_claim:
                run.remote.close()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", EngineWarning)
                found = problems_of(run, failing(Fault(number, kind, goes_on)), errno.EIO, goes_on=goes_on)
            failed, is_over = list(FailingSystem.failed), FailingSystem.count < number
            run.remote.close()
            if is_over:
                break
            if failed:
                where = f"{protocol}, {setting.name}, {kind} {failed[0]}, number {number}{', and on' * goes_on}"
                yield [f"{where}: {problem}" for problem in found]


def failing_restores(kinds: Iterable[str]) -> Iterator[list[str]]:
    """Yield what went wrong for each request of a restore that was made to fail."""
    for protocol, kind, goes_on in itertools.product(SYSTEMS, kinds, (False, True)):
        run = RemoteRun(protocol, SETTINGS[3])
        store = FsspecStore(run.url, attempts=ATTEMPTS, first_pause_s=0)
        for number in itertools.count(1):
            model = model_of(0)
            before = model.weight.detach().clone()
            step, raised = None, None
            with failing(Fault(number, kind, goes_on)):
                try:
                    step = restore_latest(store, {"model": model}).step
                except (CheckpointError, ConnectionError) as error:
                    raised = error
            if not FailingSystem.failed:
                break
            is_right = raised is not None and torch.equal(before, model.weight) if goes_on else step == run.step
            yield [] if is_right else [f"{protocol}, {kind} {FailingSystem.failed[0]}, {number}: {step}, {raised!r}"]


def failing_starts(kinds: Iterable[str]) -> Iterator[list[str]]:
    """Yield what went wrong for each request that failed while a saver was made."""
    for protocol, kind, goes_on in itertools.product(SYSTEMS, kinds, (False, True)):
        for number in itertools.count(1):
            run = RemoteRun(protocol, SETTINGS[1])
            files, raised = run.files(), None
            with failing(Fault(number, kind, goes_on)):
                try:
                    FsspecSaver(run.url, require_empty=False, attempts=ATTEMPTS, first_pause_s=0)
                except CheckpointWriteError as error:
                    raised = error
            if not FailingSystem.failed:
                break
            left = {name: content for name, content in run.files().items() if not name.endswith(".tmp")}
            is_right = left == files and (goes_on or raised is None)
            yield [] if is_right else [f"{protocol}, start, {kind} {FailingSystem.failed[0]}, {number}: {raised!r}"]


def run(full: bool) -> Outcome:
    """Let every request fail in every setting; in the slice fewer of each."""
    settings = [each for each in SETTINGS if each.durable and (full or each.name == "n_saved=1")]
    kinds = KINDS if full else ("unanswered",)
    read_kinds = [kind for kind in kinds if kind in ("refused", "unanswered")]
    saves = [*failing_saves(settings, kinds), *failing_saves(settings[:1], kinds, is_new_claim=True)]
    others = [*failing_restores(read_kinds), *failing_starts(read_kinds)]
    losses = [problem for each in (*saves, *others) for problem in each]
    detail = f"{len(saves)} failing requests of saves, {len(others)} of restores and starts"
    return Outcome("G20 failing requests", len(saves) + len(others), len(losses), "; ".join([detail, *losses[:5]]))
