from __future__ import annotations

import copy
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkpoint_parts import Counter, engine_at, names

from camshaft.engine import ArgumentTypeError, Engine, EngineWarning, Events
from camshaft.handlers import BaseSaveHandler, Checkpoint, DiskSaver, restore_latest
from camshaft.handlers.checkpoint.storage import _durable

pytest.importorskip("torch")


def test_threads_that_share_a_handler_keep_its_limit(tmp_path: Path) -> None:
    handler = Checkpoint({"m": Counter()}, tmp_path, n_saved=2)
    start = threading.Barrier(4)

    def work(thread: int) -> None:
        start.wait()
        for count in range(10):
            handler(engine_at(count * 4 + thread))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EngineWarning)  # the step of a thread may be behind that of another one
        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    assert names(tmp_path) == sorted(name for _, name in handler.state_dict()["_saved"])
    assert len(names(tmp_path)) == 2
    assert handler.last_checkpoint == tmp_path / "m_39.pt"


def test_a_copy_of_a_handler_saves_by_itself(tmp_path: Path) -> None:
    handler = Checkpoint({"m": Counter()}, tmp_path, n_saved=2)
    handler(engine_at(1))
    twin = copy.deepcopy(handler)
    twin(engine_at(2))

    assert handler.last_checkpoint == tmp_path / "m_1.pt"
    assert twin.last_checkpoint == tmp_path / "m_2.pt"


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
def test_an_interrupt_reaches_a_save_handler_of_the_users_own_at_once() -> None:
    reached = []

    class Slow(BaseSaveHandler):
        def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
            signal.raise_signal(signal.SIGINT)
            reached.append("what comes after")

        def remove(self, filename: str) -> None:
            reached.append("a removal")

    handler = Checkpoint({"m": Counter()}, Slow())
    with pytest.raises(KeyboardInterrupt):
        handler(engine_at(1))

    assert reached == []
    assert handler.last_checkpoint is None


def test_a_save_by_hand_after_a_failed_run_is_marked_as_inexact(tmp_path: Path) -> None:
    def step(engine: Engine[int, None], batch: int) -> None:
        if batch == 2:
            raise ValueError("stop")

    trainer: Engine[int, None] = Engine(step)
    handler = Checkpoint({"trainer": trainer}, tmp_path, n_saved=None)
    with pytest.raises(ValueError, match="stop"):
        trainer.run([0, 1, 2, 3])
    handler(trainer)
    assert handler.restore_latest().inexact

    trainer.run([0, 1, 0, 0], max_epochs=2)
    handler(trainer)
    assert not handler.restore_latest().inexact


def test_after_a_run_that_was_terminated_at_an_iterations_start_name_and_state_agree(tmp_path: Path) -> None:
    trainer: Engine[int, None] = Engine(lambda engine, batch: None)
    handler = Checkpoint({"trainer": trainer}, tmp_path)
    trainer.add_event_handler(Events.ITERATION_STARTED(once=5), trainer.terminate)
    trainer.add_event_handler(Events.COMPLETED, handler)
    trainer.run(range(10))

    restored: Engine[int, None] = Engine(lambda engine, batch: None)
    report = restore_latest(tmp_path, {"trainer": restored})
    assert report.path.name == f"trainer_{restored.state.iteration}.pt"
    assert report.step == restored.state.iteration


def test_what_a_save_handler_fails_to_remove_stays_in_the_list_and_goes_with_the_next_save() -> None:
    kept: list[str] = []

    class Remote(BaseSaveHandler):
        is_reachable = True

        def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
            kept.append(filename)

        def remove(self, filename: str) -> None:
            if not self.is_reachable:
                raise RuntimeError("no network")
            kept.remove(filename)

    remote = Remote()
    handler = Checkpoint({"m": Counter()}, remote)
    handler(engine_at(1))
    remote.is_reachable = False
    with pytest.raises(RuntimeError, match="no network"):
        handler(engine_at(2))
    assert [name for _, name in handler.state_dict()["_saved"]] == kept == ["m_1.pt", "m_2.pt"]

    remote.is_reachable = True
    handler(engine_at(3))
    assert [name for _, name in handler.state_dict()["_saved"]] == kept == ["m_3.pt"]


async def waits(checkpoint: Any, filename: str) -> None:
    """Save when awaited."""


def yields(checkpoint: Any, filename: str) -> Iterator[None]:
    """Save when iterated over."""
    yield


@pytest.mark.parametrize("function", [waits, yields])
def test_a_save_handler_that_has_yet_to_be_run_is_refused(function: Any) -> None:
    with pytest.raises(ArgumentTypeError, match="has yet to be run"):
        Checkpoint({"m": Counter()}, function)

    handler = Checkpoint({"m": Counter()}, lambda checkpoint, filename: function(checkpoint, filename))
    with pytest.raises(ArgumentTypeError, match="has yet to be run"):
        handler(engine_at(1))
    assert handler.last_checkpoint is None


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
def test_a_disk_saver_inside_a_save_handler_is_interrupted_only_where_nothing_is_left(tmp_path: Path) -> None:
    saver, counter = DiskSaver(tmp_path), Counter()
    sync, reached = _durable.sync_directory, []

    def interrupted_sync(path: Path) -> None:
        signal.raise_signal(signal.SIGINT)
        reached.append("the rest of the save")
        sync(path)

    handler = Checkpoint({"m": counter}, lambda checkpoint, filename: saver(checkpoint, filename))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_durable, "sync_directory", interrupted_sync)
        with pytest.raises(KeyboardInterrupt):
            handler(engine_at(1))

    assert reached == ["the rest of the save"]
    assert [path.name for path in tmp_path.iterdir()] == ["m_1.pt"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
@pytest.mark.parametrize("n_saved", [1, 2])
def test_a_save_that_interrupts_a_save_handler_leaves_the_list_and_what_is_kept_in_agreement(n_saved: int) -> None:
    kept: set[str] = set()

    class Remote(BaseSaveHandler):
        def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
            kept.add(filename)
            if filename == "m_3.pt":
                signal.raise_signal(signal.SIGTERM)

        def remove(self, filename: str) -> None:
            kept.remove(filename)

    handler = Checkpoint({"m": Counter()}, Remote(), n_saved=n_saved)
    before = signal.signal(signal.SIGTERM, lambda number, frame: handler(engine_at(4)))
    try:
        for step in (1, 2, 3):
            handler(engine_at(step))
    finally:
        signal.signal(signal.SIGTERM, before)

    assert {name for _, name in handler.state_dict()["_saved"]} == kept
    assert sorted(kept) == ["m_3.pt", "m_4.pt"][-n_saved:]
