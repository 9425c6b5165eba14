from __future__ import annotations

import errno
import gc
import os
import random
import resource
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from camshaft.engine import EngineWarning
from camshaft.handlers import CheckpointInUseError, CheckpointWriteError, DiskSaver, list_checkpoints
from camshaft.handlers.checkpoint.format._verify import read_record, verify
from camshaft.handlers.checkpoint.storage._durable import remove_leftovers
from camshaft.handlers.checkpoint.storage._lock import DirectoryLock

torch = pytest.importorskip("torch")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Same = Callable[[Any, Any], bool]

LEFTOVER = ".camshaft-0123456789abcdef.tmp"
HOLD = """
import sys
from camshaft.handlers.checkpoint.storage._lock import DirectoryLock
lock = DirectoryLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""
SAVE = """
import sys, torch
from camshaft.handlers import DiskSaver
saver = DiskSaver(sys.argv[1], require_empty=False)
saver({"weight": torch.ones(2)}, "first.pt")
print("held", flush=True)
sys.stdin.read()
"""


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture
def other_run() -> Iterator[Callable[..., int]]:
    """Start another process that holds a directory as if it were saving there; give its id."""
    started: list[subprocess.Popen[str]] = []

    def start(directory: Path, program: str = HOLD) -> int:
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process.pid

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_saved_file_is_sound_and_the_only_one(tmp_path: Path, content: Any, same: Same) -> None:
    saver = DiskSaver(tmp_path)
    saver(content, "model.pt")

    assert names(tmp_path) == ["model.pt"]
    assert verify(tmp_path / "model.pt").is_verified
    assert same(content, torch.load(tmp_path / "model.pt"))


def test_save_numbers_grow_over_savers_and_names_and_runs(tmp_path: Path) -> None:
    best, latest = DiskSaver(tmp_path), DiskSaver(tmp_path)
    best({"a": 1}, "best_1.pt")
    latest({"a": 2}, "1.pt")
    best({"a": 3}, "best_1.pt")
    del best, latest
    gc.collect()
    DiskSaver(tmp_path, require_empty=False)({"a": 4}, "2.pt")

    numbers = {name: read_record(tmp_path / name) for name in names(tmp_path)}
    assert {name: record.save_number for name, record in numbers.items() if record} == {
        "1.pt": 2,
        "best_1.pt": 3,
        "2.pt": 4,
    }


def test_savers_in_several_threads_take_turns(tmp_path: Path) -> None:
    savers = [DiskSaver(tmp_path) for _ in range(4)]

    def save(index: int) -> None:
        for number in range(5):
            savers[index]({"weight": torch.full((1000,), float(index))}, f"{index}_{number}.pt")

    threads = [threading.Thread(target=save, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    numbers = [item.record.save_number for item in list_checkpoints(tmp_path) if item.record]
    assert list(range(20, 0, -1)) == numbers


def test_a_missing_directory_is_made(tmp_path: Path) -> None:
    saver = DiskSaver(tmp_path / "a" / "b")
    saver({"a": 1}, "model.pt")

    assert (tmp_path / "a" / "b" / "model.pt").exists()


def test_a_missing_directory_is_refused_if_it_is_not_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dirname.*create_dir=True"):
        DiskSaver(tmp_path / "none", create_dir=False)


def test_a_directory_with_checkpoints_is_refused_with_the_way_out(own_file: Path) -> None:
    with pytest.raises(ValueError, match=r"own\.pt.*require_empty=False"):
        DiskSaver(own_file.parent)
    DiskSaver(own_file.parent, require_empty=False)


def test_other_files_do_not_make_a_directory_full(tmp_path: Path) -> None:
    for name in ("notes.txt", "events.log", "model.onnx"):
        (tmp_path / name).write_text("something")

    assert DiskSaver(tmp_path).dirname == tmp_path


@pytest.mark.parametrize("make", ["file", "file/below", "/proc/none", "/proc"])
def test_a_place_that_cannot_be_written_to_is_refused_at_once(tmp_path: Path, make: str) -> None:
    if make.startswith("/proc") and not Path("/proc/self").exists():
        pytest.skip("needs /proc, where nobody can create files")
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointWriteError) as caught:
        DiskSaver(tmp_path / make)
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory_is_refused_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointWriteError):
        DiskSaver(tmp_path)


def test_a_home_directory_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert tmp_path / "models" == DiskSaver("~/models").dirname


def test_a_relative_directory_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saver = DiskSaver("models")
    monkeypatch.chdir("/")
    saver({"a": 1}, "model.pt")

    assert names(tmp_path / "models") == ["model.pt"]


@pytest.mark.parametrize("name", ["../evil.pt", "/evil.pt", "a/b.pt", "..", "", "a\0b.pt", "m" * 300, LEFTOVER])
def test_names_outside_the_directory_are_neither_written_nor_removed(tmp_path: Path, name: str) -> None:
    (tmp_path / "evil.pt").write_text("precious")
    saver = DiskSaver(tmp_path / "models")
    with pytest.raises(ValueError, match="filename"):
        saver({"a": 1}, name)
    with pytest.raises(ValueError, match="filename"):
        saver.remove(name)
    assert (tmp_path / "evil.pt").read_text() == "precious"
    assert names(tmp_path / "models") == []


def test_removing_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    saver = DiskSaver(tmp_path / "models")
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "models" / "model.pt").symlink_to(tmp_path / "precious")
    saver.remove("model.pt")

    assert names(tmp_path) == ["models", "precious"]
    assert names(tmp_path / "models") == []


def test_removing_what_is_gone_is_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="gone already"):
        DiskSaver(tmp_path).remove("model.pt")


def test_removing_a_directory_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "model.pt").mkdir()
    with pytest.raises(CheckpointWriteError, match="could not be removed"):
        DiskSaver(tmp_path, require_empty=False).remove("model.pt")


def test_leftovers_of_killed_runs_are_removed_at_the_start(tmp_path: Path) -> None:
    (tmp_path / LEFTOVER).write_bytes(b"half a checkpoint")
    (tmp_path / "mine.tmp").touch()
    DiskSaver(tmp_path)

    assert names(tmp_path) == ["mine.tmp"]


def test_leftovers_stay_while_another_run_may_be_writing_them(
    tmp_path: Path, other_run: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    process = other_run(tmp_path)
    (tmp_path / LEFTOVER).write_bytes(b"half a checkpoint")
    DiskSaver(tmp_path)

    assert names(tmp_path) == [LEFTOVER]
    assert f"process {process} " in caplog.text


def test_a_second_run_is_refused_and_told_of_the_first(tmp_path: Path, other_run: Callable[..., int]) -> None:
    process = other_run(tmp_path, SAVE)
    saver = DiskSaver(tmp_path, require_empty=False)
    for refused in (lambda: saver({"a": 1}, "model.pt"), lambda: saver.remove("first.pt")):
        with pytest.raises(CheckpointInUseError, match=f"process {process} "):
            refused()
    assert names(tmp_path) == ["first.pt"]


def test_reading_needs_no_lock(tmp_path: Path, other_run: Callable[..., int]) -> None:
    DiskSaver(tmp_path)({"a": 1}, "model.pt")
    gc.collect()
    other_run(tmp_path)

    assert [item.path.name for item in list_checkpoints(tmp_path)] == ["model.pt"]
    assert verify(tmp_path / "model.pt").is_verified


def test_the_lock_ends_with_the_saver_or_when_it_is_closed(tmp_path: Path, other_run: Callable[..., int]) -> None:
    saver = DiskSaver(tmp_path)
    saver({"a": 1}, "model.pt")
    saver.close()
    saver({"a": 2}, "model.pt")
    del saver
    gc.collect()
    lock = DirectoryLock(tmp_path)
    assert lock.acquire()
    lock.release()

    other_run(tmp_path)


def test_arguments_go_to_torch_save(tmp_path: Path) -> None:
    with pytest.warns(EngineWarning, match="trusted=True"):  # PyTorch loads protocol 2 alone without trust
        DiskSaver(tmp_path, pickle_protocol=4)({"a": 1}, "model.pt")

    assert torch.load(tmp_path / "model.pt", weights_only=False) == {"a": 1}
    with pytest.raises(TypeError, match="compress"):
        DiskSaver(tmp_path, compress=True)


def test_what_cannot_be_pickled_leaves_nothing(tmp_path: Path) -> None:
    saver = DiskSaver(tmp_path)
    saver({"a": 1}, "model.pt")
    with pytest.raises(Exception, match="pickle"):
        saver({"a": lambda: None}, "model.pt")

    assert names(tmp_path) == ["model.pt"]
    assert torch.load(tmp_path / "model.pt") == {"a": 1}


def test_without_atomicity_a_failed_file_stays(tmp_path: Path) -> None:
    saver = DiskSaver(tmp_path, atomic=False)
    saver({"a": 1}, "sound.pt")
    with pytest.raises(Exception, match="pickle"):
        saver({"a": lambda: None}, "failed.pt")

    assert names(tmp_path) == ["failed.pt", "sound.pt"]
    assert verify(tmp_path / "sound.pt").is_verified


def test_without_durability_files_are_sound_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = DiskSaver(tmp_path, durable=False)
    monkeypatch.delattr(os, "fsync")
    saver({"a": 1}, "model.pt")
    saver.remove("model.pt")
    saver({"a": 2}, "model.pt")

    assert verify(tmp_path / "model.pt").is_verified


def test_the_first_save_warns_of_what_will_not_load(tmp_path: Path) -> None:
    saver = DiskSaver(tmp_path)
    payload = {"model": {"weight": torch.ones(2)}, "odd": types.SimpleNamespace()}
    with pytest.warns(UserWarning, match=r"state of 'odd' will not load without trusted=True.*SimpleNamespace"):
        saver(payload, "1.pt", {"basename": "checkpoint"})
    saver(payload, "2.pt", {"basename": "checkpoint"})
    with pytest.warns(UserWarning, match="odd"):
        saver(payload, "best_1.pt", {"basename": "best_checkpoint"})


def test_a_saver_that_is_called_by_hand_warns_of_an_object_in_place_of_its_state(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"'model' will not load without trusted=True.*Linear"):
        DiskSaver(tmp_path)({"model": torch.nn.Linear(1, 1)}, "checkpoint.pt")


# ---------------------------------------------------------------------- failing disks


class Faults:
    """Makes the n-th call of an operating system function fail that concerns a file of ours."""

    FUNCTIONS = ("open", "write", "fsync", "replace", "unlink", "close", "fstat")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: float = float("inf")
        self.failed: str | None = None
        for name in self.FUNCTIONS:
            monkeypatch.setattr(os, name, self.failing(name, getattr(os, name)))

    def failing(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == 0:
                self.failed = name
                if name == "close":
                    real(*arguments)
                raise OSError(errno.EIO, "Input/output error")
            return real(*arguments, **options)

        return call


def failure_of(save: Callable[[], None]) -> CheckpointWriteError | None:
    try:
        save()
    except CheckpointWriteError as error:
        return error
    return None


@pytest.mark.parametrize("new_name", ["new.pt", "old.pt"])
def test_whichever_call_fails_the_old_file_stays_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_name: str
) -> None:
    saver = DiskSaver(tmp_path)
    saver({"a": torch.ones(100)}, "old.pt")
    saver._last_path = None  # the hint about it may fail without harm
    old = (tmp_path / "old.pt").read_bytes()
    faults = Faults(monkeypatch)
    failed: list[str] = []
    for count in range(1, 100):
        faults.left, faults.failed = count, None
        error = failure_of(lambda: saver({"a": torch.zeros(100)}, new_name))
        faults.left = float("inf")
        if error is None:
            break
        assert isinstance(error.__cause__, OSError)
        assert error.errno == errno.EIO
        failed.append(str(faults.failed))
        assert names(tmp_path) == ["old.pt"]
        assert new_name == "old.pt" or old == (tmp_path / "old.pt").read_bytes()
        assert verify(tmp_path / "old.pt").is_verified
    assert {"open", "write", "fsync", "replace"} <= set(failed)
    assert names(tmp_path) == sorted({"old.pt", new_name})


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_is_a_write_error_and_leaves_nothing(tmp_path: Path) -> None:
    saver = DiskSaver(tmp_path)
    saver({"a": torch.ones(1000)}, "old.pt")
    size_bytes = (tmp_path / "old.pt").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    budgets = [0, 1, *random.Random(1).sample(range(2, size_bytes), 20), size_bytes - 1]
    try:
        for budget in budgets:
            resource.setrlimit(resource.RLIMIT_FSIZE, (budget, limits[1]))
            with pytest.raises(CheckpointWriteError) as caught:
                saver({"a": torch.zeros(1000)}, "new.pt")
            assert caught.value.errno == errno.EFBIG
            assert names(tmp_path) == ["old.pt"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    saver({"a": torch.zeros(1000)}, "new.pt")
    assert verify(tmp_path / "new.pt").is_verified


def test_a_stop_in_the_middle_of_writing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = DiskSaver(tmp_path)
    saver({"a": 1}, "old.pt")

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", stop)
    with pytest.raises(KeyboardInterrupt):
        saver({"a": torch.zeros(10)}, "new.pt")
    monkeypatch.undo()

    assert names(tmp_path) == ["old.pt"]
    saver({"a": 2}, "new.pt")


def test_a_directory_that_vanished_is_a_write_error(tmp_path: Path) -> None:
    saver = DiskSaver(tmp_path / "models")
    saver({"a": 1}, "1.pt")
    (tmp_path / "models" / "1.pt").unlink()
    (tmp_path / "models").rmdir()
    with pytest.raises(CheckpointWriteError):
        saver({"a": 2}, "2.pt")
    (tmp_path / "models").mkdir()
    saver({"a": 3}, "3.pt")

    assert names(tmp_path / "models") == ["3.pt"]


def in_threads(action: Callable[[int], object], count: int) -> list[BaseException]:
    """Do something in several threads that begin together, and return what they raised."""
    start, raised = threading.Barrier(count), list[BaseException]()

    def work(number: int) -> None:
        start.wait()
        try:
            action(number)
        except BaseException as error:  # noqa: BLE001 - all of it is told
            raised.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_savers_can_be_made_at_the_same_time(tmp_path: Path) -> None:
    raised = []
    for place in range(10):
        raised += in_threads(lambda number: DiskSaver(tmp_path / str(place), require_empty=False), 8)  # noqa: B023

    assert raised == []
    assert list(tmp_path.glob("*/*")) == []


def test_a_saver_is_made_while_others_save(tmp_path: Path) -> None:
    def work(number: int) -> None:
        for count in range(5):
            saver = DiskSaver(tmp_path, require_empty=False)
            saver({"count": count}, f"{number}_{count}.pt")

    assert in_threads(work, 6) == []
    numbers = sorted(read_record(path).save_number for path in tmp_path.iterdir())  # type: ignore[union-attr]
    assert numbers == list(range(1, 31))


def test_a_probe_that_another_process_takes_for_a_leftover_has_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_close = os.close

    def close(descriptor: int) -> None:
        real_close(descriptor)
        remove_leftovers(tmp_path)  # what a process does that saves here for the first time

    monkeypatch.setattr(os, "close", close)
    DiskSaver(tmp_path)
    monkeypatch.undo()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_processes_can_make_savers_at_the_same_time(tmp_path: Path) -> None:
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for _ in range(25):
                    DiskSaver(tmp_path, require_empty=False).close()
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

    assert statuses == [0, 0, 0, 0]
    assert list(tmp_path.iterdir()) == []
