"""A Checkpoint as a handler of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from checkpoint_parts import Counter, InMemory, by_score, engine_at, names

from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, DiskSaver, global_step_from_engine
from camshaft.handlers.checkpoint import CheckpointEvents
from camshaft.handlers.checkpoint.format._verify import read_record

torch = pytest.importorskip("torch")


def test_the_order_of_handlers_does_not_matter() -> None:
    for late in (True, False):
        counter, saver = Counter(), InMemory()
        trainer = Engine(lambda engine, batch: None)
        handler = Checkpoint({"counter": counter, "trainer": trainer}, saver)

        def count(counter: Counter = counter) -> None:
            counter.count += 1

        for function in (count, handler) if late else (handler, count):
            trainer.add_event_handler(Events.EPOCH_COMPLETED, function)
        trainer.run([1, 2], max_epochs=3)

        assert saver.kept["checkpoint_6.pt"]["counter"] == {"count": 3}
        assert saver.kept["checkpoint_6.pt"]["trainer"]["iteration"] == 6


def test_score_step_and_name_are_those_of_the_call() -> None:
    saver = InMemory()
    trainer = Engine(lambda engine, batch: None)
    trainer.state.score = 0.5
    trainer.add_event_handler(Events.EPOCH_COMPLETED, by_score(saver))

    @trainer.on(Events.EPOCH_COMPLETED)
    def change() -> None:
        trainer.state.score = 0.9

    trainer.run([1, 2, 3])

    assert list(saver.kept) == ["m_3_0.5000.pt"]


def test_an_evaluator_inside_a_trainer_saves_what_the_trainers_handlers_leave() -> None:
    model, saver = Counter(), InMemory()
    trainer, evaluator = Engine(lambda engine, batch: None), Engine(lambda engine, batch: None)
    evaluator.add_event_handler(
        Events.COMPLETED, Checkpoint({"m": model}, saver, global_step_transform=global_step_from_engine(trainer))
    )
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([1]))

    @trainer.on(Events.EPOCH_COMPLETED)
    def change() -> None:
        model.count = trainer.state.epoch

    trainer.run([1, 2, 3], max_epochs=2)

    assert saver.kept == {"m_2.pt": {"count": 2}}


def test_the_event_can_be_listened_to_before_the_first_save_and_follows_each() -> None:
    saver = InMemory()
    handler = Checkpoint({"m": Counter()}, saver)
    trainer = Engine(lambda engine, batch: None)
    seen: list[Any] = []

    @trainer.on(Checkpoint.SAVED_CHECKPOINT)
    def note(engine: Engine[Any, Any]) -> None:
        assert engine is trainer
        seen.append((handler.last_checkpoint, list(saver.kept)))

    trainer.add_event_handler(Events.EPOCH_COMPLETED, handler)
    trainer.run([1], max_epochs=2)

    assert Checkpoint.SAVED_CHECKPOINT is CheckpointEvents.SAVED_CHECKPOINT
    assert seen == [("m_1.pt", ["m_1.pt"]), ("m_2.pt", ["m_2.pt"])]


def test_a_save_that_is_not_worth_it_fires_nothing() -> None:
    seen: list[Any] = []
    handler = by_score(InMemory())
    for score in (0.5, 0.4):
        engine = engine_at()
        engine.state.score = score
        engine.add_event_handler(Checkpoint.SAVED_CHECKPOINT, lambda: seen.append(1))
        handler(engine)

    assert seen == [1]


@pytest.mark.parametrize("event", list(Events), ids=str)
def test_a_handler_sits_on_any_event(event: Events) -> None:
    saver = InMemory()

    def step(engine: Engine[Any, Any], batch: int) -> None:
        if engine.state.iteration == 2:
            engine.terminate_epoch()
        if batch == 9:
            raise ValueError("stop")
        if engine.state.iteration == 7:
            engine.interrupt() if event is Events.INTERRUPT else engine.terminate()

    trainer = Engine(step)
    trainer.add_event_handler(event, Checkpoint({"m": Counter()}, saver, n_saved=None))
    if event is Events.EXCEPTION_RAISED:
        with pytest.raises(ValueError, match="stop"):
            trainer.run([1, 2, 9], max_epochs=4)
    elif event is Events.COMPLETED:
        trainer.run([1], max_epochs=1)
    else:
        trainer.run([1, 2, 3], max_epochs=4)

    assert saver.kept


def test_a_save_in_the_middle_of_a_failure_is_marked_as_inexact(tmp_path: Path) -> None:
    def step(engine: Engine[Any, Any], batch: int) -> None:
        if batch == 3:
            raise ValueError("stop")

    trainer = Engine(step)
    handler = Checkpoint({"trainer": trainer}, tmp_path, n_saved=None)
    evaluator = Engine(lambda engine, batch: None)
    nested = Checkpoint({"trainer": trainer}, tmp_path, "nested")
    evaluator.add_event_handler(Events.COMPLETED, nested)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, handler)
    trainer.add_event_handler(Events.EXCEPTION_RAISED, handler)
    trainer.add_event_handler(Events.EXCEPTION_RAISED, lambda: evaluator.run([1]) and None)
    with pytest.raises(ValueError, match="stop"):
        trainer.run([1, 2, 3])

    exact = {path.name: getattr(read_record(path), "exact", None) for path in tmp_path.iterdir()}
    assert exact == {
        "trainer_1.pt": True, "trainer_2.pt": True, "trainer_3.pt": False, "nested_trainer_1.pt": False,
    }  # fmt: skip
    assert handler.restore_latest().inexact


def test_a_run_goes_on_where_its_checkpoint_was_taken(tmp_path: Path) -> None:
    def training(seen: list[int]) -> tuple[Engine[Any, Any], Checkpoint]:
        trainer = Engine(lambda engine, batch: seen.append(batch))
        handler = Checkpoint({"trainer": trainer}, tmp_path)
        trainer.add_event_handler(Events.ITERATION_COMPLETED(every=2), handler)
        return trainer, handler

    first: list[int] = []
    trainer, _ = training(first)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=7), trainer.terminate)
    trainer.run([1, 2, 3, 4, 5], max_epochs=2)

    second: list[int] = []
    trainer, handler = training(second)
    assert handler.restore_latest().step == 6
    trainer.run([1, 2, 3, 4, 5])

    assert first == [1, 2, 3, 4, 5, 1, 2]
    assert second == [2, 3, 4, 5]
    assert names(tmp_path) == ["trainer_10.pt"]


def test_best_and_latest_share_a_saver(tmp_path: Path) -> None:
    saver, model = DiskSaver(tmp_path), Counter()
    latest = Checkpoint({"m": model, "n": Counter()}, saver, n_saved=2)
    best = by_score(saver, filename_prefix="best", score_name="acc")
    for index, score in enumerate([0.5, 0.9, 0.7, 0.8]):
        engine = engine_at(index)
        engine.state.score = score
        model.count = index
        latest(engine)
        best(engine)

    assert names(tmp_path) == ["best_m_1_acc=0.9000.pt", "checkpoint_2.pt", "checkpoint_3.pt"]
    assert latest.last_checkpoint == tmp_path / "checkpoint_3.pt"
    assert best.last_checkpoint == tmp_path / "best_m_1_acc=0.9000.pt"
