from __future__ import annotations

import copy
import signal
import sys
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from camshaft.engine import Engine, EngineWarning, Events
from camshaft.handlers import BaseSaveHandler, Checkpoint, restore_latest

pytest.importorskip("torch")


class Counter:
    """The smallest thing with a state."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.count = state["count"]


def engine_at(iteration: int) -> Engine[Any, Any]:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.state.iteration = iteration
    return engine


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


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
