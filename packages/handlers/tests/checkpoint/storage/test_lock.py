from __future__ import annotations

import copy
import errno
import gc
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from camshaft.engine import RunningError
from camshaft.handlers import CheckpointInUseError
from camshaft.handlers.checkpoint.storage import _lock
from camshaft.handlers.checkpoint.storage._lock import DirectoryLock, holder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="directories cannot be locked there")

HOLD = """
import sys
from camshaft.handlers.checkpoint.storage._lock import DirectoryLock
lock = DirectoryLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def hold() -> Iterator[Callable[[Path], subprocess.Popen[str]]]:
    """Start another process that holds the lock of a directory."""
    started: list[subprocess.Popen[str]] = []

    def start(directory: Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_one_process_shares_the_lock_and_frees_it_with_the_last_share(
    tmp_path: Path, hold: Callable[[Path], subprocess.Popen[str]]
) -> None:
    best, latest = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    assert best.acquire()
    assert not latest.acquire()
    latest.last_number = 7
    assert best.last_number == 7
    best.release()
    best.release()
    assert not latest.acquire()
    latest.release()

    hold(tmp_path)
    with pytest.raises(CheckpointInUseError):
        best.acquire()


def test_a_second_process_is_refused_and_told_who_holds_the_lock(
    tmp_path: Path, hold: Callable[[Path], subprocess.Popen[str]]
) -> None:
    process = hold(tmp_path)

    with pytest.raises(CheckpointInUseError, match=f"process {process.pid} ") as caught:
        DirectoryLock(tmp_path).acquire()
    assert isinstance(caught.value, OSError)
    assert str(tmp_path) == caught.value.filename
    assert str(process.pid) in str(holder_of(tmp_path))


def test_a_killed_process_holds_nothing(tmp_path: Path, hold: Callable[[Path], subprocess.Popen[str]]) -> None:
    process = hold(tmp_path)
    process.kill()
    process.wait()

    lock = DirectoryLock(tmp_path)
    assert holder_of(tmp_path) is None
    assert lock.acquire()
    lock.release()


def test_a_lock_ends_with_its_last_user(tmp_path: Path, hold: Callable[[Path], subprocess.Popen[str]]) -> None:
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    del lock
    gc.collect()

    assert hold(tmp_path).poll() is None  # another process has it now


def test_a_copy_holds_nothing(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    lock.acquire()
    copied = copy.deepcopy(lock)

    assert copied.directory == tmp_path
    assert not copied.acquire()
    lock.release()
    assert not lock.acquire()
    lock.release()
    copied.release()


def test_other_directories_are_free(tmp_path: Path, hold: Callable[[Path], subprocess.Popen[str]]) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    hold(tmp_path / "one")

    lock = DirectoryLock(tmp_path / "two")
    assert lock.acquire()
    lock.release()


def test_a_directory_under_another_name_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    one, two = DirectoryLock(tmp_path / "real"), DirectoryLock(tmp_path / "link")

    assert one.acquire()
    assert not two.acquire()
    one.release()
    two.release()


def test_a_directory_that_was_replaced_is_locked_anew(tmp_path: Path) -> None:
    directory = tmp_path / "models"
    directory.mkdir()
    lock = DirectoryLock(directory)
    assert lock.acquire()
    lock.last_number = 5
    directory.rename(tmp_path / "old")
    directory.mkdir()

    assert lock.acquire()
    assert lock.last_number is None
    lock.release()


ORPHAN = """
import multiprocessing, os, sys, time
from camshaft.handlers.checkpoint.storage._lock import DirectoryLock
lock = DirectoryLock(sys.argv[1])
lock.acquire()
def work():
    print(os.getpid(), flush=True)
    sys.stdout.close()
    time.sleep(60)
multiprocessing.get_context("fork").Process(target=work).start()
time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_an_orphaned_worker_keeps_nobody_out(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ORPHAN, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    try:
        process.kill()
        process.wait()
        os.kill(worker, 0)  # it lives on
        lock = DirectoryLock(tmp_path)
        assert lock.acquire()
        lock.release()
    finally:
        os.kill(worker, 9)
        process.communicate()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_worker_is_refused_while_its_parent_holds_the_lock(tmp_path: Path) -> None:
    lock, another = DirectoryLock(tmp_path), DirectoryLock(tmp_path)
    assert lock.acquire()
    another.acquire()
    child = os.fork()
    if child == 0:
        outcome = 1
        try:
            lock.acquire()
        except CheckpointInUseError as error:
            outcome = 0 if str(os.getppid()) in str(error) else 2
        finally:
            another.release()
            os._exit(outcome)
    assert os.waitpid(child, 0)[1] == 0
    assert not lock.acquire()
    lock.release()
    another.release()


def test_a_file_system_without_locks_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(_lock.fcntl, "flock", refuse)
    lock = DirectoryLock(tmp_path)
    with pytest.warns(UserWarning, match="without locks"):
        assert lock.acquire()
    assert not lock.is_exclusive
    lock.release()


def test_a_lock_that_another_holds_for_a_moment_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, refusals = _lock.fcntl.flock, iter([True, True])

    def busy_at_first(descriptor: int, operation: int) -> None:
        if next(refusals, False):
            raise BlockingIOError(errno.EWOULDBLOCK, "busy")
        real(descriptor, operation)

    monkeypatch.setattr(_lock.fcntl, "flock", busy_at_first)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    lock = DirectoryLock(tmp_path)
    assert lock.acquire()
    assert lock.is_exclusive
    lock.release()


def test_what_is_shared_needs_the_lock(tmp_path: Path) -> None:
    with pytest.raises(RunningError):
        _ = DirectoryLock(tmp_path).last_number


def test_a_missing_directory_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DirectoryLock(tmp_path / "none").acquire()
