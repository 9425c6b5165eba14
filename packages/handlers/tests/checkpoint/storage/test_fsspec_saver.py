from __future__ import annotations

import errno
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from checkpoint_parts import Counter, saved

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine
from camshaft.handlers import (
    Checkpoint,
    CheckpointInUseError,
    CheckpointWriteError,
    DiskSaver,
    ExtraMissingError,
    FsspecSaver,
    FsspecStore,
    NoCheckpointError,
    list_checkpoints,
    restore_latest,
    verify_checkpoint,
)
from camshaft.handlers.__main__ import main
from camshaft.handlers.testing import check_store

torch = pytest.importorskip("torch")
fsspec = pytest.importorskip("fsspec")
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402 - it may be missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLAIM = ".camshaft-writer"


class OddSystem(MemoryFileSystem):  # type: ignore[misc] # fsspec has no types
    """A file system in memory that a test can make odd."""

    protocol: ClassVar[Any] = "odd"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    cachable = False
    hidden: ClassVar[Callable[[str], bool]] = staticmethod(lambda name: False)
    after_put: ClassVar[Callable[[Any], None]] = staticmethod(lambda file: None)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(path.rpartition("://")[2]))

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        return [entry for entry in super().ls(path, detail=True) if not OddSystem.hidden(entry["name"])]

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        super().put_file(lpath, rpath, **options)
        OddSystem.after_put(self.store[self._strip_protocol(rpath)])


class OddObjects(OddSystem):
    """The same, taken for an object store."""

    protocol: ClassVar[Any] = ("odd-s3", "s3")


for _name, _system in (("odd", OddSystem), ("odd-s3", OddObjects)):
    fsspec.register_implementation(_name, _system, clobber=True)


@pytest.fixture(params=["memory", "file", "odd", "odd-s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of an empty directory."""
    monkeypatch.setattr(OddSystem, "hidden", OddSystem.hidden)
    monkeypatch.setattr(OddSystem, "after_put", OddSystem.after_put)
    where = f"file://{tmp_path}/run" if request.param == "file" else f"{request.param}://of-a-test/run"
    yield where
    if request.param != "file":
        save_to(where).close()
        system = fsspec.core.url_to_fs(where)[0]
        system.store.clear()
        system.pseudo_dirs[:] = [""]


odd = pytest.mark.parametrize("url", ["odd", "odd-s3"], indirect=True)


def save_to(url: str, **options: Any) -> FsspecSaver:
    return FsspecSaver(url, **{"require_empty": False, "first_pause_s": 0, **options})


def names(url: str) -> list[str]:
    system, root = fsspec.core.url_to_fs(url)
    return sorted(path.rpartition("/")[2] for path in system.find(root))


@pytest.mark.parametrize("read_back", [True, False])
def test_it_keeps_what_is_promised_of_stores(url: str, read_back: bool) -> None:
    def damage(filename: str) -> None:
        system, root = fsspec.core.url_to_fs(url)
        content = system.cat_file(f"{root}/{filename}")
        system.pipe_file(f"{root}/{filename}", content[:200] + b"x" + content[201:])

    check_store(lambda: save_to(url, read_back=read_back), damage)


def test_the_directory_holds_the_checkpoints_and_who_writes_there(url: str) -> None:
    saver = save_to(url)
    saved(saver, 1, 2, 3, n_saved=2)
    assert [CLAIM, "count_2.pt", "count_3.pt"] == names(url)

    saver.close()
    assert ["count_2.pt", "count_3.pt"] == names(url)


def test_a_url_stands_for_a_saver_and_a_store(url: str) -> None:
    checkpoint, count = saved(url, 7), Counter()

    assert f"{url}/count_7.pt" == checkpoint.last_checkpoint == list_checkpoints(f"{url}/")[0].path
    assert f"{url}/count_7.pt" == restore_latest(url, {"count": count}).path
    count.count = 0
    Checkpoint.load_objects({"count": count}, f"{url}/count_7.pt")
    assert 7 == count.count
    record = verify_checkpoint(f"{url}/count_7.pt")
    assert record is not None
    assert 7 == record.step


def test_a_run_is_resumed_with_its_list(url: str) -> None:
    state = saved(url, 1, 2, n_saved=2).state_dict()
    resumed = saved(url, n_saved=2)
    resumed.load_state_dict(state)

    assert f"{url}/count_2.pt" == resumed.last_checkpoint
    assert ["count_1.pt", "count_2.pt"] == [name for _, name in resumed.state_dict()["_saved"]]


def test_where_nothing_was_saved_there_is_nothing_to_restore(url: str) -> None:
    assert restore_latest(f"{url}/none", {"count": Counter()}, missing_ok=True) is None
    with pytest.raises(NoCheckpointError):
        restore_latest(f"{url}/none", {"count": Counter()})


def test_a_directory_with_checkpoints_is_refused_with_the_way_out(url: str) -> None:
    saved(url, 1)
    with pytest.raises(ArgumentError, match=r"count_1\.pt.*require_empty=False"):
        FsspecSaver(url)


@pytest.mark.parametrize(
    "url",
    [
        "run", "/run", "", "c:/run", "s3://", "s3:///", "simplecache::memory://run", "memory://run*", "file:///tmp/[1]",
        "memory://a/../b", "s3://b//x",
        "none://run", "sftp://user:secret@host/run", "memory://a\nb", Path("run"), None, 5,
    ],
    ids=repr,
)  # fmt: skip
def test_odd_urls_are_refused_by_name(url: Any) -> None:
    with pytest.raises((ArgumentError, ArgumentTypeError), match="url") as caught:
        FsspecSaver(url, first_pause_s=0)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"storage_options": [1]},
        {"storage_options": "key"},
        {"first_pause_s": "1"},
        {"attempts": "3"},
        {"compress": True},
    ],
    ids=repr,
)
def test_odd_options_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises((ArgumentError, ArgumentTypeError), match="storage_options|first_pause_s|attempts|compress"):
        FsspecSaver("memory://run", **options)


def test_a_system_that_cannot_be_connected_to_is_a_write_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))

    monkeypatch.setattr(fsspec.core, "url_to_fs", refuse)
    with pytest.raises(CheckpointWriteError, match="2 attempts failed"):
        save_to("memory://run", attempts=2)


def test_the_command_line_takes_urls(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    saved(url, 1, 2, n_saved=None)

    assert [0, 0, 2, 2] == [
        main([action, each])
        for action, each in (("list", url), ("verify", f"{url}/"), ("list", f"{url}/none"), ("list", "none://run"))
    ]
    told = capsys.readouterr()
    assert 2 == told.out.count("count_2.pt")
    assert "Protocol not known" in told.err


def test_urls_that_went_astray_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match="FsspecSaver"):
        DiskSaver("s3://bucket/run")
    for use in (DiskSaver, list_checkpoints, verify_checkpoint, lambda place: saved(place, 1)):
        with pytest.raises(ArgumentError, match="pathlib"):
            use(Path("s3://bucket/run"))
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options", [{"attempts": 0}, {"attempts": 1.5}, {"first_pause_s": -1}, {"first_pause_s": float("nan")}]
)
def test_attempts_that_are_none_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(options))):
        FsspecStore("memory://run", **options)


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ExtraMissingError, match="fsspec"):
        list_checkpoints("memory://run")


@odd
def test_a_store_that_lists_late_is_waited_for(url: str) -> None:
    hidden: dict[str, int] = {}

    def is_hidden(path: str) -> bool:
        if not path.endswith(".pt"):
            return False
        hidden[path] = hidden.get(path, 0) + 1
        return hidden[path] <= 3

    OddSystem.hidden = staticmethod(is_hidden)
    checkpoint = saved(save_to(url), 1, 2)

    assert 2 == restore_latest(url, {"count": Counter()}).step
    assert [CLAIM, "count_2.pt"] == names(url)
    assert checkpoint.last_checkpoint is not None


@odd
def test_a_file_that_is_never_listed_is_no_checkpoint_and_replaces_none(url: str) -> None:
    checkpoint = saved(save_to(url), 1)
    OddSystem.hidden = staticmethod(lambda path: path.endswith("count_2.pt"))
    engine: Engine[None, None] = Engine(lambda engine, batch: None)
    engine.state.iteration = 2
    with pytest.raises(CheckpointWriteError, match="not listed"):
        checkpoint(engine)

    assert [CLAIM, "count_1.pt"] == names(url)
    assert f"{url}/count_1.pt" == checkpoint.last_checkpoint


@odd
def test_what_is_listed_and_gone_is_passed_over(url: str) -> None:
    saved(save_to(url), 1, 2, n_saved=None)
    system, root = fsspec.core.url_to_fs(url)
    late = system.ls(root)
    system.rm_file(f"{root}/count_2.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OddSystem, "ls", lambda self, path, **options: late)
        report = restore_latest(FsspecStore(url, attempts=2, first_pause_s=0), {"count": Counter()})

    assert 1 == report.step


@odd
@pytest.mark.parametrize("times", [1, 100])
def test_an_upload_that_arrives_changed_is_made_again_and_then_given_up(url: str, times: int) -> None:
    checkpoint = saved(save_to(url, attempts=3), 1)
    left = [times]

    def garble(file: Any) -> None:
        left[0] -= 1
        if left[0] >= 0:
            file.getbuffer()[60] ^= 1

    OddSystem.after_put = staticmethod(garble)
    engine: Engine[None, None] = Engine(lambda engine, batch: None)
    engine.state.iteration = 2
    if times == 1:
        checkpoint(engine)
        assert [CLAIM, "count_2.pt"] == names(url)
        return
    with pytest.raises(CheckpointWriteError, match="not what was uploaded"):
        checkpoint(engine)
    assert [CLAIM, "count_1.pt"] == names(url)


@odd
def test_a_ctrl_c_during_an_upload_leaves_no_trace(url: str) -> None:
    checkpoint = saved(save_to(url), 1)
    OddSystem.after_put = staticmethod(lambda file: os.kill(os.getpid(), signal.SIGINT))
    engine: Engine[None, None] = Engine(lambda engine, batch: None)
    engine.state.iteration = 2
    with pytest.raises(KeyboardInterrupt):
        checkpoint(engine)
    OddSystem.after_put = staticmethod(lambda file: None)

    assert [CLAIM, "count_1.pt"] == names(url)
    checkpoint(engine)
    assert [CLAIM, "count_2.pt"] == names(url)


def test_files_of_others_are_left_alone(url: str) -> None:
    system, root = fsspec.core.url_to_fs(url)
    save_to(url)  # makes the directory
    others = {
        "notes.txt": b"mine",
        "empty.pt": b"",
        "short.pt": b"PK",
        "model.onnx": bytes(9000),
        "x.safetensors": b"no",
    }
    for name, content in others.items():
        system.pipe_file(f"{root}/{name}", content)
    system.makedirs(f"{root}/deeper.pt", exist_ok=True)
    system.pipe_file(f"{root}/deeper.pt/inside.pt", b"mine too")
    saver = save_to(url)
    saved(saver, 1, 2)

    assert 2 == saved(saver).restore_latest().step
    assert {"empty.pt", "short.pt", "x.safetensors", "count_2.pt"} == {file.name for file in saver.checkpoints()}
    assert {*others, "inside.pt", "count_2.pt", CLAIM} == set(names(url))
    with pytest.raises(CheckpointWriteError):
        saver({"a": 1}, "deeper.pt")
    assert "inside.pt" in names(url)


def test_leftovers_of_killed_runs_are_removed_at_the_first_save(url: str) -> None:
    leftover = ".camshaft-0123456789abcdef.tmp"
    saver = save_to(url)
    system, root = fsspec.core.url_to_fs(url)
    system.pipe_file(f"{root}/{leftover}", b"half a checkpoint")
    saver({"a": 1}, "model.pt")

    assert [CLAIM, "model.pt"] == names(url)


def claimed_by_another(url: str) -> None:
    system, root = fsspec.core.url_to_fs(url)
    told = {"token": "x", "host": "elsewhere", "pid": 7, "command": "train.py", "since": "today"}
    system.pipe_file(f"{root}/{CLAIM}", json.dumps(told).encode())


def test_a_run_whose_place_was_claimed_is_refused_and_removes_nothing(url: str) -> None:
    saver = save_to(url)
    checkpoint = saved(saver, 1)
    claimed_by_another(url)
    engine: Engine[None, None] = Engine(lambda engine, batch: None)
    engine.state.iteration = 2
    for use in (lambda: checkpoint(engine), lambda: saver.remove("count_1.pt"), lambda: saver({"a": 1}, "a.pt")):
        with pytest.raises(CheckpointInUseError, match=r"process 7 on elsewhere \(train.py\)"):
            use()
    assert [CLAIM, "count_1.pt"] == names(url)

    saver.close()
    checkpoint(engine)
    assert [CLAIM, "count_2.pt"] == names(url)


@odd
def test_one_that_is_claimed_during_a_save_keeps_the_old_file_as_well(url: str) -> None:
    checkpoint = saved(save_to(url), 1)
    OddSystem.after_put = staticmethod(lambda file: claimed_by_another(url))
    engine: Engine[None, None] = Engine(lambda engine, batch: None)
    engine.state.iteration = 2
    with pytest.raises(CheckpointInUseError):
        checkpoint(engine)
    OddSystem.after_put = staticmethod(lambda file: None)

    assert {"count_1.pt"} <= set(names(url))
    assert f"{url}/count_1.pt" == checkpoint.last_checkpoint


@odd
def test_a_save_that_fails_leaves_what_another_run_has_saved_under_its_name(url: str) -> None:
    saver = save_to(url, attempts=2)
    saver({"a": 1}, "1.pt")

    def take_over(file: Any) -> None:
        claimed_by_another(url)
        system, root = fsspec.core.url_to_fs(url)
        system.pipe_file(f"{root}/2.pt", b"of the other run")

    OddSystem.after_put = staticmethod(take_over)
    with pytest.raises(CheckpointWriteError):
        saver({"a": 2}, "2.pt")
    OddSystem.after_put = staticmethod(lambda file: None)

    system, root = fsspec.core.url_to_fs(url)
    assert b"of the other run" == system.cat_file(f"{root}/2.pt")


def test_a_claim_that_somebody_tidied_away_is_made_again(url: str) -> None:
    saver = save_to(url)
    saver({"a": 1}, "1.pt")
    system, root = fsspec.core.url_to_fs(url)
    system.rm_file(f"{root}/{CLAIM}")
    saver({"a": 2}, "2.pt")

    assert [CLAIM, "1.pt", "2.pt"] == names(url)


def test_savers_in_several_threads_share_the_claim_and_the_numbers(url: str) -> None:
    savers = [save_to(url) for _ in range(3)]
    errors: list[BaseException] = []

    def save(index: int) -> None:
        try:
            for number in range(4):
                savers[index]({"weight": torch.full((100,), float(index))}, f"{index}_{number}.pt")
        except BaseException as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=save, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == errors
    assert list(range(12, 0, -1)) == [file.record.save_number for file in list_checkpoints(url) if file.record]


def test_hundreds_of_files_are_listed_and_the_newest_is_restored(url: str) -> None:
    saver = save_to(url)
    saved(saver, 1)
    system, root = fsspec.core.url_to_fs(url)
    content = system.cat_file(f"{root}/count_1.pt")
    for number in range(300):
        system.pipe_file(f"{root}/older_{number}.pt", content)
    saved(saver, 2, n_saved=None)

    assert 302 == len(saver.checkpoints())
    assert 2 == restore_latest(url, {"count": Counter()}).step


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_takes_no_files_is_refused_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CheckpointWriteError):
        save_to(f"file://{tmp_path}")


def test_a_full_disk_here_is_named_as_such(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = save_to(url)

    def full(*arguments: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(CheckpointWriteError, match="No space left") as caught:
        saver({"a": 1}, "model.pt")
    assert errno.ENOSPC == caught.value.errno


def test_a_copy_of_a_saver_saves_to_the_same_place(url: str) -> None:
    import copy
    import pickle

    saver = save_to(url)
    for number, each in enumerate((saver, copy.deepcopy(saver), pickle.loads(pickle.dumps(saver)))):
        each({"a": number}, f"{number}.pt")

    assert ["2.pt", "1.pt", "0.pt"] == [file.name for file in list_checkpoints(url)]
