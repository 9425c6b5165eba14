from __future__ import annotations

import copy
import errno
import itertools
import logging
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning, Events  # noqa: E402
from camshaft.handlers import (  # noqa: E402
    BaseSaveHandler,
    Checkpoint,
    CheckpointWriteError,
    DiskSaver,
    FsspecSaver,
    ModelCheckpoint,
    StopOnSignal,
    restore_latest,
)
from camshaft.handlers.checkpoint.storage._background import give_up_all  # noqa: E402


class Disk:
    """A disk that syncs files when it is told to: `go` lets all go on, `fail` makes every sync fail."""

    def __init__(self) -> None:
        self.is_ready = threading.Event()
        self.syncing = threading.Event()  # whether one waits
        self.error: int | None = None

    def go(self) -> None:
        self.is_ready.set()

    def stop(self) -> None:
        self.is_ready.clear()
        self.syncing.clear()

    def fail(self, error: int = errno.EIO) -> None:
        self.error = error
        self.go()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk, sync = Disk(), os.fsync

    def slow_sync(descriptor: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            disk.syncing.set()
            assert disk.is_ready.wait(60)
            if disk.error is not None:
                raise OSError(disk.error, os.strerror(disk.error))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow_sync)
    yield disk
    disk.go()


class Run:
    """Trains a weight to be the number of iterations, and saves it in the background after some of them."""

    def __init__(self, directory: Path, every: int = 2, *, n_saved: int | None = 1, **options: Any) -> None:
        self.directory = directory
        self.model = torch.nn.Linear(2, 2)
        self.trainer: Engine[Any, None] = Engine(lambda engine, batch: self.train())
        self.saver = DiskSaver(directory, require_empty=False, asynchronous=True, **options)
        self.latest = Checkpoint({"model": self.model, "trainer": self.trainer}, self.saver, n_saved=n_saved)
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED(every=every), self.latest)
        self.trainer.register_events(Checkpoint.SAVED_CHECKPOINT)
        self.trainer.add_event_handler(Checkpoint.SAVED_CHECKPOINT, self.note)
        self.saved: list[tuple[int, str]] = []
        self.at: dict[int, Any] = {}  # what to call in the step of an iteration

    def train(self) -> None:
        iteration = self.trainer.state.iteration
        torch.nn.init.constant_(self.model.weight, iteration)
        self.at.get(iteration, lambda: None)()

    def note(self) -> None:
        assert isinstance(self.latest.newest_checkpoint, Path)
        self.saved.append((self.trainer.state.iteration, self.latest.newest_checkpoint.name))

    def run(self, iterations: int) -> None:
        self.trainer.run(range(iterations), max_epochs=2)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir() if path.suffix == ".pt")

    def wait_for_file(self, name: str) -> None:
        while not (self.directory / name).exists():
            threading.Event().wait(0.001)

    def weight_of(self, name: str) -> float:
        (value,) = torch.load(self.directory / name)["model"]["weight"].unique().tolist()
        return float(value)


def test_a_file_is_what_the_state_was_when_it_was_asked_for(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path, every=4)
    run.at[6] = disk.go  # two steps later

    run.run(3)

    assert run.saved == [(6, "checkpoint_4.pt")]
    assert run.weight_of("checkpoint_4.pt") == 4


@pytest.mark.parametrize("seed", range(3))
def test_a_state_that_is_changed_right_after_the_save_is_saved_as_it_was(tmp_path: Path, disk: Disk, seed: int) -> None:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(50, 50), torch.nn.BatchNorm1d(50))
    expected, saver = copy.deepcopy(model.state_dict()), DiskSaver(tmp_path, asynchronous=True)

    saver({"model": model.state_dict()}, "model.pt")
    for tensor in model.state_dict().values():
        tensor.fill_(-1)
    disk.go()
    saver.close()

    found = torch.load(tmp_path / "model.pt")["model"]
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_list_event_and_removal_follow_when_the_file_is_safe(tmp_path: Path, disk: Disk) -> None:
    run, seen = Run(tmp_path, every=2), []
    run.at[3] = lambda: (disk.go(), run.latest.wait(), disk.stop())

    def look() -> None:
        assert disk.syncing.wait(60)
        seen.append((run.files(), run.latest.last_checkpoint, list(run.saved)))
        disk.go()
        run.wait_for_file("checkpoint_4.pt")

    run.at[5] = look
    run.run(4)

    (files, last, saved), *_ = seen
    assert (files, last, saved) == (["checkpoint_2.pt"], tmp_path / "checkpoint_2.pt", [(3, "checkpoint_2.pt")])
    assert run.files() == ["checkpoint_8.pt"]
    assert [name for _, name in run.saved] == [f"checkpoint_{step}.pt" for step in (2, 4, 6, 8)]


def test_a_second_save_waits_for_the_first(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path, every=1, n_saved=None)
    threading.Timer(0.05, disk.go).start()

    run.run(3)

    assert run.files() == [f"checkpoint_{step}.pt" for step in range(1, 7)]
    assert [run.weight_of(name) for name in run.files()] == [1, 2, 3, 4, 5, 6]


def test_a_second_save_is_left_out_where_that_was_asked_for_but_not_the_last_one(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path, every=1, n_saved=None, when_busy="skip")
    run.trainer.add_event_handler(Events.COMPLETED, run.latest)
    run.trainer.add_event_handler(Events.COMPLETED, disk.go)

    run.run(3)

    assert run.files() == ["checkpoint_1.pt", "checkpoint_6.pt"]


def test_a_signal_saves_also_where_saves_are_left_out(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path, every=1, n_saved=None, when_busy="skip")
    run.trainer.logger = logging.getLogger("quiet")
    run.trainer.logger.disabled = True
    run.at[4] = lambda: (os.kill(os.getpid(), 15), disk.go())

    with pytest.raises(SystemExit), StopOnSignal(run.trainer, run.latest):
        run.run(3)

    assert run.files() == ["checkpoint_1.pt", "checkpoint_4.pt"]


def test_of_scores_the_one_on_its_way_counts(tmp_path: Path, disk: Disk) -> None:
    model, scores = torch.nn.Linear(1, 1), {1: 0.5, 2: 0.4, 3: 0.6}
    saver = DiskSaver(tmp_path, asynchronous=True)
    best = Checkpoint({"model": model}, saver, score_function=lambda engine: scores[engine.state.iteration])
    trainer: Engine[int, None] = Engine(lambda engine, batch: disk.go() if batch == 3 else None)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, best)

    trainer.run([1, 2, 3])

    assert [path.name for path in tmp_path.iterdir()] == ["model_0.6000.pt"]


@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED(once=2), Events.EPOCH_COMPLETED, Events.COMPLETED])
def test_the_end_of_a_run_waits(tmp_path: Path, disk: Disk, event: Any) -> None:
    run = Run(tmp_path, every=100)
    run.trainer.add_event_handler(event, run.latest)
    threading.Timer(0.02, disk.go).start()

    run.run(2)

    assert run.files() == [run.saved[-1][1]]
    assert run.latest.last_checkpoint == tmp_path / run.files()[0]


def test_an_error_of_the_writer_is_raised_at_the_next_safe_point(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path, every=100)
    disk.go()
    run.latest(run.trainer)
    before = run.files()
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), run.latest)
    disk.stop()

    def fail() -> None:
        assert disk.syncing.wait(60)
        disk.fail(errno.ENOSPC)
        while any(path.suffix == ".tmp" for path in tmp_path.iterdir()):
            threading.Event().wait(0.001)
        for thread in threading.enumerate():
            if thread.name == "camshaft-checkpoint":
                thread.join()

    run.at[4] = fail
    with pytest.raises(CheckpointWriteError, match="could not be written") as raised:
        run.run(9)

    assert (raised.value.errno, run.trainer.state.iteration) == (errno.ENOSPC, 4)
    assert run.files() == before
    assert run.latest.state_dict() == {"_saved": [(0, before[0])]}


def test_an_error_of_the_writer_is_raised_at_the_end_of_the_run(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path, every=6)
    threading.Timer(0.02, disk.fail).start()

    with pytest.raises(CheckpointWriteError):
        run.run(3)

    assert (run.files(), run.saved) == ([], [])


def test_after_an_error_the_next_save_works(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path, every=6)
    disk.fail()
    with pytest.raises(CheckpointWriteError):
        run.run(3)
    disk.error = None

    run.latest(run.trainer)

    assert run.files() == ["checkpoint_6.pt"]


def test_a_step_that_fails_waits_for_the_save_too(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path)
    threading.Timer(0.02, disk.go).start()
    run.at[3] = lambda: 1 / 0

    with pytest.raises(ZeroDivisionError):
        run.run(9)

    assert (run.files(), run.saved) == (["checkpoint_2.pt"], [(3, "checkpoint_2.pt")])


def test_sys_exit_in_a_run_waits_for_the_save_too(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path)
    threading.Timer(0.02, disk.go).start()
    run.at[3] = lambda: exit(5)  # noqa: PLR1722

    with pytest.raises(SystemExit):
        run.run(9)

    assert run.files() == ["checkpoint_2.pt"]


def test_the_end_of_a_run_does_not_wait_for_ever(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path, every=6, timeout_s=0.05)

    with pytest.raises(CheckpointWriteError, match=r"still being written after 0\.05 s") as raised:
        run.run(3)

    assert raised.value.errno == errno.ETIMEDOUT
    disk.go()


def test_what_was_given_up_is_followed_by_saves_again(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path, every=6, timeout_s=0.05)
    with pytest.raises(CheckpointWriteError):
        run.run(3)
    disk.go()
    run.saver._background.timeout_s = 60
    run.latest.wait()
    run.trainer.state.iteration = 7

    run.latest(run.trainer)

    assert "checkpoint_7.pt" in run.files()


class GivesUp:
    """Gives all saves up when the payload is read in the background."""

    def __reduce__(self) -> tuple[Any, ...]:
        return give_up_all_and_return, ()


def give_up_all_and_return() -> int:
    give_up_all()
    return 1


def test_a_save_that_is_given_up_while_it_is_written_leaves_no_trace(tmp_path: Path) -> None:
    saver = DiskSaver(tmp_path, asynchronous=True)
    saver({"state": GivesUp()}, "model.pt")

    with pytest.raises(CheckpointWriteError, match="given up"):
        saver.wait()
    saver.wait()  # for the thread, which nobody waited for
    assert list(tmp_path.iterdir()) == []


def test_called_by_hand_it_saves_before_it_returns(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path)
    threading.Timer(0.02, disk.go).start()

    run.latest(run.trainer)

    assert run.files() == ["checkpoint_0.pt"]


def test_restoring_waits_for_what_is_being_written(tmp_path: Path, disk: Disk) -> None:
    run, seen = Run(tmp_path), []

    def restore() -> None:
        threading.Timer(0.02, disk.go).start()
        seen.append(run.latest.restore_latest({"model": run.model}).step)

    run.at[3] = restore
    run.run(2)

    assert seen == [2]


def test_restoring_from_the_directory_finds_what_is_safe(tmp_path: Path, disk: Disk) -> None:
    run, seen = Run(tmp_path), []
    disk.go()
    run.at[3] = lambda: (run.latest.wait(), disk.stop())
    run.at[5] = lambda: (seen.append(restore_latest(tmp_path, {"model": run.model}).step), disk.go())

    run.run(3)

    assert seen == [2]


def test_several_savers_of_a_directory_write_at_once(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path)
    best = Checkpoint(
        {"model": run.model},
        DiskSaver(tmp_path, require_empty=False, asynchronous=True),
        "best",
        score_function=lambda engine: engine.state.iteration,
    )
    evaluator: Engine[int, None] = Engine(lambda engine, batch: None)
    evaluator.add_event_handler(Events.COMPLETED, best)
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: evaluator.run([1, 2]))
    threads: list[int] = []

    def look() -> None:
        threads.append(sum(thread.name == "camshaft-checkpoint" for thread in threading.enumerate()))
        disk.go()

    run.at[3] = look
    run.run(2)

    assert threads == [2]
    assert run.files() == ["best_model_2.pt", "checkpoint_4.pt"]


def test_a_wrapped_saver_removes_nothing_before_what_replaces_it_is_safe(tmp_path: Path, disk: Disk) -> None:
    class Wrapped(BaseSaveHandler):
        inner = DiskSaver(tmp_path, asynchronous=True)

        def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
            self.inner(checkpoint, filename, metadata)

        def remove(self, filename: str) -> None:
            threading.Timer(0.02, disk.go).start()
            self.inner.remove(filename)
            assert (tmp_path / "model_2.pt").exists()

    handler = Checkpoint({"model": torch.nn.Linear(1, 1)}, Wrapped())
    engine: Engine[int, None] = Engine(lambda engine, batch: None)
    disk.go()
    for engine.state.iteration in (1, 2):
        handler(engine)
        if engine.state.iteration == 1:
            Wrapped.inner.wait()
            disk.stop()
    Wrapped.inner.close()

    assert [path.name for path in tmp_path.iterdir()] == ["model_2.pt"]


def test_what_will_not_load_safely_is_warned_about_when_it_is_written(tmp_path: Path, disk: Disk) -> None:
    run = Run(tmp_path)
    disk.go()
    run.trainer.state_dict_user_keys.append("odd")
    run.trainer.state.odd = threading.Event  # type: ignore[attr-defined]

    with pytest.warns(EngineWarning, match="will not load without trusted=True") as warned:
        run.run(3)

    assert len(warned) == 1


def test_what_cannot_be_pickled_is_an_error_of_the_save(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.trainer.state_dict_user_keys.append("odd")
    run.trainer.state.odd = lambda: None  # type: ignore[attr-defined]

    with pytest.raises(Exception, match="pickle"):
        run.run(3)

    assert (run.files(), run.trainer.state.iteration) == ([], 2)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_copy_of_a_saver_is_idle(tmp_path: Path, disk: Disk, way: Any) -> None:
    saver = DiskSaver(tmp_path, asynchronous=True)
    saver({"weight": torch.ones(1)}, "one.pt")

    twin = way(saver)
    twin.wait()
    disk.go()
    twin({"weight": torch.zeros(1)}, "two.pt")
    twin.close()
    saver.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.pt", "two.pt"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_waits_for_nothing(tmp_path: Path, disk: Disk) -> None:
    saver = DiskSaver(tmp_path, asynchronous=True)
    saver({"weight": torch.ones(1)}, "one.pt")
    assert disk.syncing.wait(60)

    child = os.fork()
    if child == 0:
        saver.wait()
        os._exit(7)
    _, status = os.waitpid(child, 0)
    disk.go()
    saver.close()

    assert os.waitstatus_to_exitcode(status) == 7


def test_a_fsspec_saver_saves_in_the_background_too(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    saver = FsspecSaver(f"file://{tmp_path}", asynchronous=True)
    model = torch.nn.Linear(1, 1)
    trainer: Engine[int, None] = Engine(lambda engine, batch: None)
    latest = Checkpoint({"model": model, "trainer": trainer}, saver, n_saved=1)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, latest)

    trainer.run(range(5))

    assert latest.restore_latest().step == 5
    assert [item.name for item in saver.checkpoints()] == ["checkpoint_5.pt"]


def test_model_checkpoint_has_it_too(tmp_path: Path) -> None:
    handler = ModelCheckpoint(tmp_path, n_saved=1, asynchronous=True)
    trainer: Engine[int, None] = Engine(lambda engine, batch: None)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, handler, {"model": torch.nn.Linear(1, 1)})

    trainer.run(range(3))

    assert [path.name for path in tmp_path.iterdir()] == ["model_3.pt"]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"when_busy": "drop"}, ArgumentError, "`when_busy` must be"),
        ({"timeout_s": 0}, ArgumentError, "`timeout_s` must be above 0"),
        ({"timeout_s": float("nan")}, ArgumentError, "`timeout_s` must be above 0"),
        ({"timeout_s": "600"}, ArgumentTypeError, "`timeout_s` must be a number"),
    ],
)
def test_bad_arguments_are_refused(tmp_path: Path, options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        DiskSaver(tmp_path, asynchronous=True, **options)


def test_threads_that_share_a_handler_keep_list_and_files_the_same(tmp_path: Path) -> None:
    steps, errors = itertools.count(), []
    saver = DiskSaver(tmp_path, asynchronous=True)
    latest = Checkpoint({"m": torch.nn.Linear(9, 9)}, saver, n_saved=2, global_step_transform=lambda *_: next(steps))

    def train() -> None:
        engine: Engine[int, None] = Engine(lambda engine, batch: None)
        engine.add_event_handler(Events.ITERATION_COMPLETED, latest)
        try:
            engine.run(range(10))
        except BaseException as error:  # noqa: BLE001 - any is one too many
            errors.append(error)

    threads = [threading.Thread(target=train) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert sorted(name for _, name in latest.state_dict()["_saved"]) == sorted(path.name for path in tmp_path.iterdir())


def test_handlers_that_share_a_saver_are_each_told_of_their_own_failures(tmp_path: Path, disk: Disk) -> None:
    saver, model = DiskSaver(tmp_path, asynchronous=True), torch.nn.Linear(1, 1)
    one, other = (Checkpoint({"model": model}, saver, prefix) for prefix in ("one", "other"))
    trainer: Engine[int, None] = Engine(lambda engine, batch: disk.fail() if batch == 2 else None)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), one)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=2), other)

    with pytest.raises(CheckpointWriteError) as raised:
        trainer.run([1, 2, 3])
    told = {Path(error.filename).name for error in (raised.value, raised.value.__context__)}  # one after the other
    disk.error = None
    trainer.run([4, 5, 6])

    assert told == {"one_model_1.pt", "other_model_2.pt"}
    assert {path.name for path in tmp_path.iterdir()} == told
