from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, Events
from camshaft.handlers import (
    BaseSaveHandler,
    Checkpoint,
    CheckpointWriteError,
    DiskSaver,
    NoCheckpointError,
    NoDirectoryError,
    global_step_from_engine,
)
from camshaft.handlers.checkpoint import CheckpointEvents
from camshaft.handlers.checkpoint.format._verify import read_record, verify

torch = pytest.importorskip("torch")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class Counter:
    """The smallest thing with a state."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.count = state["count"]


class InMemory(BaseSaveHandler):
    """Keeps what it is given, and a journal."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.journal: list[str] = []
        self.metadata: list[Any] = []

    def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
        self.kept[filename] = copy.deepcopy(checkpoint)
        self.journal.append(f"write {filename}")
        self.metadata.append(metadata)

    def remove(self, filename: str) -> None:
        del self.kept[filename]
        self.journal.append(f"remove {filename}")


def engine_at(iteration: int = 203, epoch: int = 12) -> Engine[Any, Any]:
    engine = Engine(lambda engine, batch: None)
    engine.state.iteration, engine.state.epoch = iteration, epoch
    return engine


def saved_names(saver: InMemory, handler: Checkpoint, scores: list[Any]) -> list[str]:
    """Call a handler whose score function reads `engine.state.score`, and give the names that are kept."""
    for index, score in enumerate(scores):
        engine = engine_at(index)
        engine.state.score = score
        handler(engine)
    return sorted(saver.kept)


def by_score(saver: Any, **options: Any) -> Checkpoint:
    return Checkpoint(
        {"m": Counter()}, saver, score_function=lambda engine: engine.state.score,
        global_step_transform=lambda engine, _: engine.state.iteration, **options,
    )  # fmt: skip


# ---------------------------------------------------------------------- names


SCORE: dict[str, Any] = {"score_function": lambda engine: 0.77}
STEP: dict[str, Any] = {"global_step_transform": lambda engine, event: engine.state.epoch}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "model_203.pt"),
        ({"filename_prefix": "best"}, "best_model_203.pt"),
        (SCORE, "model_0.7700.pt"),
        ({**SCORE, "score_name": "acc"}, "model_acc=0.7700.pt"),
        (STEP, "model_12.pt"),
        ({**SCORE, **STEP}, "model_12_0.7700.pt"),
        ({**SCORE, **STEP, "score_name": "acc", "filename_prefix": "best"}, "best_model_12_acc=0.7700.pt"),
        ({"score_function": lambda engine: 94}, "model_94.pt"),
        ({"filename_pattern": "chk-{name}--{global_step}.{ext}"}, "chk-model--203.pt"),
        ({**SCORE, "filename_pattern": "{global_step}-{name}-{score}.chk.{ext}"}, "203-model-0.7700.chk.pt"),
        ({**SCORE, **STEP, "filename_pattern": "{filename_prefix}{name}-{score:.1f}"}, "model-0.8"),
        ({"filename_pattern": "last.pt"}, "last.pt"),
    ],
)
def test_a_file_is_called_after_what_is_known(options: dict[str, Any], expected: str) -> None:
    saver = InMemory()
    Checkpoint({"model": Counter()}, saver, **options)(engine_at())

    assert [expected] == list(saver.kept)


def test_several_objects_are_called_checkpoint() -> None:
    saver = InMemory()
    Checkpoint({"a": Counter(), "b": Counter()}, saver)(engine_at())

    assert list(saver.kept) == ["checkpoint_203.pt"]


def test_a_score_name_alone_is_a_metric() -> None:
    saver, engine = InMemory(), engine_at()
    handler = Checkpoint({"model": Counter()}, saver, score_name="acc")
    engine.state.metrics["acc"] = torch.tensor(0.5)
    handler(engine)

    assert list(saver.kept) == ["model_acc=0.5000.pt"]
    engine.state.metrics = {"loss": 1}
    with pytest.raises(ArgumentError, match=r"'acc'.*\['loss'\]"):
        handler(engine)


def test_the_default_score_function_takes_a_sign() -> None:
    engine = engine_at()
    engine.state.metrics["loss"] = 0.25

    assert Checkpoint.get_default_score_fn("loss")(engine) == 0.25
    assert Checkpoint.get_default_score_fn("loss", -1.0)(engine) == -0.25
    with pytest.raises(ValueError, match="score_sign"):
        Checkpoint.get_default_score_fn("loss", 2.0)


def test_the_step_may_be_that_of_another_engine() -> None:
    saver = InMemory()
    handler = Checkpoint({"m": Counter()}, saver, global_step_transform=global_step_from_engine(engine_at(7, 3)))
    evaluator = engine_at(99, 1)
    evaluator.last_event_name = Events.COMPLETED
    handler(evaluator)

    assert list(saver.kept) == ["m_3.pt"]


# ---------------------------------------------------------------------- content


def test_content_is_bare_for_one_object_and_by_name_for_several() -> None:
    saver = InMemory()
    Checkpoint({"a": Counter(1)}, saver)(engine_at())
    Checkpoint({"a": Counter(1), "b": [Counter(2)]}, saver)(engine_at())

    assert saver.kept == {"a_203.pt": {"count": 1}, "checkpoint_203.pt": {"a": {"count": 1}, "b": [{"count": 2}]}}


def test_with_itself_included_the_list_in_the_file_is_that_after_the_save() -> None:
    saver = InMemory()
    handler = Checkpoint({"a": Counter(1)}, saver, include_self=True, n_saved=2)
    for iteration in (1, 2, 3):
        handler(engine_at(iteration))

    assert saver.kept["a_3.pt"] == {"a": {"count": 1}, "checkpointer": {"_saved": [(2, "a_2.pt"), (3, "a_3.pt")]}}
    assert handler.state_dict() == saver.kept["a_3.pt"]["checkpointer"]


def test_metadata_are_basename_score_name_and_priority() -> None:
    saver = InMemory()
    Checkpoint({"a": Counter()}, saver, "best", score_name="acc", **SCORE)(engine_at())
    Checkpoint({"a": Counter()}, saver)(engine_at())

    assert saver.metadata == [
        {"basename": "best_a", "score_name": "acc", "priority": 0.77},
        {"basename": "a", "score_name": None, "priority": 203},
    ]


def test_functions_are_save_handlers_too() -> None:
    seen: list[Any] = []
    Checkpoint({"a": Counter()}, lambda checkpoint, filename: seen.append(filename))(engine_at())
    Checkpoint({"a": Counter()}, lambda *arguments: seen.append(arguments[1:]), n_saved=None)(engine_at())

    assert seen == ["a_203.pt", ("a_203.pt", {"basename": "a", "score_name": None, "priority": 203})]


def test_a_save_handler_of_ones_own_may_do_without_metadata(tmp_path: Path) -> None:
    class Plain(InMemory):
        def __call__(self, checkpoint: Any, filename: str) -> None:  # type: ignore[override] # as older ones are
            super().__call__(checkpoint, filename)

        def __fspath__(self) -> str:
            return str(tmp_path)

    saver = Plain()
    Checkpoint({"a": Counter()}, saver)(engine_at())

    assert list(saver.kept) == ["a_203.pt"]


def test_a_file_says_what_it_is(tmp_path: Path) -> None:
    Checkpoint({"a": Counter()}, tmp_path, "best", score_name="acc", **SCORE, **STEP)(engine_at())
    record = read_record(tmp_path / "best_a_12_acc=0.7700.pt")

    assert record is not None
    assert (record.save_number, record.step, record.exact, record.priority) == (1, 12, True, 0.77)
    assert (record.prefix, record.name, record.keys, record.is_bare) == ("best", "a", ("a",), True)


# ---------------------------------------------------------------------- retention


def test_the_latest_are_kept_and_the_new_one_is_written_before_the_old_is_removed() -> None:
    saver = InMemory()
    handler = Checkpoint({"m": Counter()}, saver)
    for iteration in (10, 20):
        handler(engine_at(iteration))

    assert saver.journal == ["write m_10.pt", "write m_20.pt", "remove m_10.pt"]
    assert handler.last_checkpoint == handler.newest_checkpoint == "m_20.pt"


def test_the_best_are_kept() -> None:
    saver = InMemory()
    handler = by_score(saver, n_saved=2)

    assert saved_names(saver, handler, [0.5, 0.9, 0.7, 0.1]) == ["m_1_0.9000.pt", "m_2_0.7000.pt"]
    assert handler.last_checkpoint == "m_1_0.9000.pt"
    assert handler.newest_checkpoint == "m_2_0.7000.pt"


def test_ties_keep_the_first_or_the_later() -> None:
    first, later = InMemory(), InMemory()

    assert saved_names(first, by_score(first), [1, 1, 1]) == ["m_0_1.pt"]
    assert saved_names(later, by_score(later, greater_or_equal=True), [1, 1, 1]) == ["m_2_1.pt"]


def test_nan_is_never_best_and_the_first_to_go() -> None:
    saver = InMemory()
    handler = by_score(saver)
    assert saved_names(saver, handler, [math.nan]) == ["m_0_nan.pt"]
    assert handler.last_checkpoint is None
    assert handler.newest_checkpoint == "m_0_nan.pt"

    assert saved_names(saver, handler, [math.nan, -math.inf, math.nan]) == ["m_1_-inf.pt"]
    assert handler.last_checkpoint == "m_1_-inf.pt"


@pytest.mark.parametrize("score", [torch.tensor(0.5), torch.tensor([0.5]), True, 10**30, -1e300, math.inf])
def test_odd_scores_are_numbers(tmp_path: Path, score: Any) -> None:
    engine, handler = engine_at(), by_score(tmp_path)
    engine.state.score = score
    handler(engine)

    assert isinstance(handler.last_checkpoint, Path)
    assert verify(handler.last_checkpoint).is_verified
    assert handler.restore_latest().priority == pytest.approx(float(score))


@pytest.mark.parametrize("score", [None, "0.5", 1j])
def test_what_is_no_score_is_refused(tmp_path: Path, score: Any) -> None:
    engine, handler = engine_at(), by_score(tmp_path)
    engine.state.score = score
    with pytest.raises(ValueError, match="score_function"):
        handler(engine)
    assert names(tmp_path) == []


def test_a_fixed_name_is_overwritten_and_nothing_is_removed() -> None:
    saver = InMemory()
    handler = Checkpoint({"m": Counter()}, saver, filename_pattern="last.pt")
    for iteration in (10, 20, 30):
        handler(engine_at(iteration))

    assert saver.journal == ["write last.pt"] * 3


def test_none_keeps_all() -> None:
    saver = InMemory()
    handler = Checkpoint({"m": Counter()}, saver, n_saved=None)
    for iteration in range(5):
        handler(engine_at(iteration))

    assert len(saver.kept) == 5


def test_a_step_behind_those_saved_is_a_warning_that_leads_to_reset() -> None:
    saver = InMemory()
    handler = Checkpoint({"m": Counter()}, saver)
    handler(engine_at(20))
    handler(engine_at(20))
    with pytest.warns(UserWarning, match=r"m_10\.pt was not saved.*reset\(\)"):
        handler(engine_at(10))
    handler.reset()
    handler(engine_at(10))

    assert sorted(saver.kept) == ["m_10.pt", "m_20.pt"]


def test_after_a_reset_nothing_is_known_and_files_stay(tmp_path: Path) -> None:
    handler = Checkpoint({"m": Counter()}, tmp_path)
    handler(engine_at())
    handler.reset()

    assert handler.last_checkpoint is None
    assert handler.newest_checkpoint is None
    assert names(tmp_path) == ["m_203.pt"]


def test_a_failed_save_changes_neither_list_nor_files() -> None:
    class Failing(InMemory):
        def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
            if filename == "m_20.pt":
                raise CheckpointWriteError(28, "No space left on device")
            super().__call__(checkpoint, filename, metadata)

    saver = Failing()
    handler = Checkpoint({"m": Counter()}, saver)
    handler(engine_at(10))
    with pytest.raises(CheckpointWriteError):
        handler(engine_at(20))
    assert handler.state_dict() == {"_saved": [(10, "m_10.pt")]}
    assert handler.newest_checkpoint == "m_10.pt"
    handler(engine_at(30))

    assert list(saver.kept) == ["m_30.pt"]


def test_a_file_removed_by_hand_is_a_warning_and_training_goes_on(tmp_path: Path) -> None:
    handler = Checkpoint({"m": Counter()}, tmp_path)
    handler(engine_at(10))
    (tmp_path / "m_10.pt").unlink()
    with pytest.warns(UserWarning, match=r"m_10\.pt.*gone already"):
        handler(engine_at(20))

    assert names(tmp_path) == ["m_20.pt"]


def test_what_cannot_be_removed_is_a_warning_and_tried_again() -> None:
    class Stubborn(InMemory):
        refusals = 1

        def remove(self, filename: str) -> None:
            if self.refusals:
                self.refusals -= 1
                raise PermissionError(f"{filename} is needed")
            super().remove(filename)

    saver = Stubborn()
    handler = Checkpoint({"m": Counter()}, saver)
    handler(engine_at(10))
    with pytest.warns(UserWarning, match="could not be removed"):
        handler(engine_at(20))
    assert sorted(saver.kept) == ["m_10.pt", "m_20.pt"]
    assert handler.last_checkpoint == "m_20.pt"
    handler(engine_at(30))

    assert list(saver.kept) == ["m_30.pt"]


def test_a_missing_file_in_a_save_handler_of_ones_own_is_a_warning() -> None:
    class Forgets(InMemory):
        def remove(self, filename: str) -> None:
            raise FileNotFoundError(filename)

    handler = Checkpoint({"m": Counter()}, Forgets())
    handler(engine_at(10))
    with pytest.warns(UserWarning, match="gone already"):
        handler(engine_at(20))
    assert handler.state_dict() == {"_saved": [(20, "m_20.pt")]}


# ---------------------------------------------------------------------- in a run


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


# ---------------------------------------------------------------------- best and latest in one directory


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


# ---------------------------------------------------------------------- restoring


def training_set(directory: Path, n_saved: int | None = 2) -> tuple[dict[str, Counter], Checkpoint]:
    objects = {"a": Counter(), "b": Counter()}
    return objects, Checkpoint(objects, directory, n_saved=n_saved)


def test_after_a_restart_the_list_is_taken_up_from_the_files(tmp_path: Path) -> None:
    _, handler = training_set(tmp_path)
    for iteration in (10, 20, 30):
        handler(engine_at(iteration))

    _, handler = training_set(tmp_path)
    assert handler.last_checkpoint is None
    report = handler.restore_latest()
    assert report.step == 30
    assert handler.state_dict() == {"_saved": [(20, "checkpoint_20.pt"), (30, "checkpoint_30.pt")]}
    assert handler.newest_checkpoint == tmp_path / "checkpoint_30.pt"
    handler(engine_at(40))

    assert names(tmp_path) == ["checkpoint_30.pt", "checkpoint_40.pt"]


@pytest.mark.parametrize(("n_saved", "left"), [(1, 1), (2, 2), (5, 4), (None, 4)])
def test_after_a_restart_with_another_limit_that_limit_holds(tmp_path: Path, n_saved: int | None, left: int) -> None:
    _, handler = training_set(tmp_path, n_saved=3)
    for iteration in (10, 20, 30):
        handler(engine_at(iteration))
    _, handler = training_set(tmp_path, n_saved=n_saved)
    handler.restore_latest()
    handler(engine_at(40))

    assert left == len(names(tmp_path))


def test_a_damaged_file_takes_no_place_in_the_list(tmp_path: Path) -> None:
    _, handler = training_set(tmp_path, n_saved=3)
    for iteration in (10, 20, 30):
        handler(engine_at(iteration))
    (tmp_path / "checkpoint_30.pt").write_bytes(b"PK\x03\x04")
    _, handler = training_set(tmp_path, n_saved=1)
    with pytest.warns(UserWarning, match=r"checkpoint_30\.pt"):
        report = handler.restore_latest()
    assert report.step == 20
    assert handler.state_dict() == {"_saved": [(10, "checkpoint_10.pt"), (20, "checkpoint_20.pt")]}


def test_files_of_another_run_with_later_steps_do_not_keep_new_ones_out(tmp_path: Path) -> None:
    _, first = training_set(tmp_path, n_saved=1)
    first(engine_at(1000))
    _, second = training_set(tmp_path, n_saved=1)
    second(engine_at(10))

    _, third = training_set(tmp_path, n_saved=1)
    with pytest.warns(UserWarning, match=r"checkpoint_1000\.pt is of a later step"):
        assert third.restore_latest().step == 10
    third(engine_at(20))

    assert names(tmp_path) == ["checkpoint_1000.pt", "checkpoint_20.pt"]
    with pytest.warns(UserWarning, match="later step"):
        assert third.restore_latest().step == 20


def test_ones_own_files_are_restored_not_those_of_others(tmp_path: Path) -> None:
    objects, latest = training_set(tmp_path)
    latest(engine_at(10))
    objects["a"].count = 5
    Checkpoint(objects, tmp_path, "best", score_function=lambda engine: 1.0)(engine_at(20))

    objects, latest = training_set(tmp_path)
    assert latest.restore_latest().path.name == "checkpoint_10.pt"
    assert objects["a"].count == 0


def test_other_objects_may_be_restored(tmp_path: Path) -> None:
    objects, handler = training_set(tmp_path)
    objects["b"].count = 8
    handler(engine_at(10))
    other = Counter()
    handler.restore_latest({"b": other})

    assert other.count == 8


def test_restoring_needs_files_and_a_disk(tmp_path: Path) -> None:
    _, handler = training_set(tmp_path)
    with pytest.raises(NoCheckpointError):
        handler.restore_latest()
    in_memory = Checkpoint({"m": Counter()}, InMemory())
    with pytest.raises(NoDirectoryError, match="save_handler"):
        in_memory.restore_latest()
    with pytest.raises(AttributeError):
        in_memory.reload_objects({"m": Counter()})


def test_files_are_reloaded_by_the_parts_of_their_names(tmp_path: Path) -> None:
    objects, handler = training_set(tmp_path, n_saved=None)
    for iteration in (10, 20, 30):
        objects["a"].count = iteration
        handler(engine_at(iteration))

    handler.reload_objects(objects, global_step=10)
    assert objects["a"].count == 10
    handler.reload_objects(objects)
    assert objects["a"].count == 30
    only = {"a": Counter()}
    handler.reload_objects(only, {"map_location": "cpu", "trusted": True}, global_step=20)
    assert only["a"].count == 20
    with pytest.raises(NoCheckpointError):
        handler.reload_objects(objects, global_step=11)


def test_a_saved_list_is_loaded_and_checked(tmp_path: Path) -> None:
    _, handler = training_set(tmp_path, n_saved=None)
    for iteration in (10, 20):
        handler(engine_at(iteration))
    state = handler.state_dict()
    _, other = training_set(tmp_path, n_saved=None)
    other.load_state_dict(state)

    assert state == other.state_dict()
    assert other.last_checkpoint == other.newest_checkpoint == tmp_path / "checkpoint_20.pt"
    with pytest.raises(ArgumentError, match="remove"):
        other.load_state_dict({"_saved": [(1, "notes.txt")]})
    assert state == other.state_dict()
    with pytest.warns(UserWarning, match="gone"):
        other.load_state_dict({"saved": [(5, "checkpoint_5.pt"), (10, "checkpoint_10.pt")]})
    assert other.state_dict() == {"_saved": [(10, "checkpoint_10.pt")]}


def test_a_list_from_a_file_goes_back_into_its_handler(tmp_path: Path) -> None:
    model = Counter(1)
    handler = Checkpoint({"m": model}, tmp_path, include_self=True, n_saved=3)
    for iteration in (10, 20):
        handler(engine_at(iteration))
    restarted = Checkpoint({"m": model}, tmp_path, include_self=True, n_saved=3)
    Checkpoint.load_objects({"m": model, "checkpointer": restarted}, tmp_path / "m_20.pt")

    assert handler.state_dict() == restarted.state_dict()


# ---------------------------------------------------------------------- arguments


def wrong_arguments() -> Iterator[tuple[dict[str, Any], type[Exception], str]]:
    model = {"m": Counter()}
    yield {"to_save": 12}, TypeError, "to_save"
    yield {"to_save": [12]}, TypeError, "to_save"
    yield {"to_save": {"m": {"a": 1}}}, TypeError, "state_dict"
    yield {"to_save": {}}, ValueError, "to_save"
    yield {"save_handler": 12}, TypeError, "save_handler"
    yield {"save_handler": lambda: None}, TypeError, "save_handler"
    yield {"filename_prefix": None}, TypeError, "filename_prefix"
    yield {"score_function": 0.5}, TypeError, "score_function"
    yield {"score_name": 5}, TypeError, "score_name"
    yield {"n_saved": 0}, ValueError, "n_saved"
    for wrong in (-1, 1.0, "2", True):
        yield {"n_saved": wrong}, ValueError, "n_saved"
    yield {"global_step_transform": 123}, TypeError, "global_step_transform"
    yield {"filename_pattern": "{random_step}-{name}.pt"}, KeyError, "random_step"
    yield {"filename_pattern": "{name}_{score}.pt"}, ValueError, "score_function"
    yield {"filename_pattern": "{name}_{score:d}.pt", "score_function": lambda e: 1.0}, ValueError, "filename_pattern"
    yield {"filename_pattern": 5}, TypeError, "filename_pattern"
    yield {"to_save": {**model, "checkpointer": Counter()}, "include_self": True}, ValueError, "checkpointer"


@pytest.mark.parametrize(("options", "error", "text"), list(wrong_arguments()))
def test_wrong_arguments_are_refused_at_construction(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        Checkpoint(**{"to_save": {"m": Counter()}, "save_handler": InMemory(), **options})


@pytest.mark.parametrize(
    "options",
    [
        {"filename_prefix": "../evil"},
        {"filename_prefix": ".."},
        {"filename_prefix": "a/b"},
        {"filename_prefix": "a\0b"},
        {"filename_prefix": "p" * 300},
        {"filename_prefix": "\udcff"},
        {"score_name": "val/acc"},
        {"to_save": {"../m": Counter()}},
        {"filename_pattern": "../{name}.pt"},
        {"filename_pattern": "/{name}.pt"},
    ],
)
def test_names_that_leave_the_directory_are_refused_at_construction(tmp_path: Path, options: dict[str, Any]) -> None:
    directory = tmp_path / "models"
    for save_handler in (directory, DiskSaver(directory)):
        with pytest.raises(ValueError, match="filename"):
            Checkpoint(**{"to_save": {"m": Counter()}, "save_handler": save_handler, **options})
    assert names(tmp_path) == ["models"]
    assert names(directory) == []


def test_other_save_handlers_may_have_folders() -> None:
    saver = InMemory()
    Checkpoint({"m": Counter()}, saver, "runs/1/best")(engine_at())

    assert list(saver.kept) == ["runs/1/best_m_203.pt"]


def test_a_path_stands_for_a_directory_that_may_be_in_use(tmp_path: Path) -> None:
    for path in (tmp_path, str(tmp_path)):
        handler = Checkpoint({"m": Counter()}, path)
        handler(engine_at())
        assert handler.last_checkpoint == tmp_path / "m_203.pt"


def test_archived_is_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match="archived"):
        Checkpoint({"m": Counter()}, InMemory(), archived=True)
    with pytest.warns(UserWarning, match="archived"):
        Checkpoint({"m": Counter()}, InMemory(), archived=True)


def test_patterns_are_put_together() -> None:
    assert Checkpoint.setup_filename_pattern(with_prefix=False) == "{name}_{global_step}_{score_name}={score}.{ext}"
    with pytest.raises(ArgumentError):
        Checkpoint.setup_filename_pattern(with_score=False)


def test_a_saver_of_ones_own_gets_what_the_disk_saver_gets(tmp_path: Path) -> None:
    class Uploads(DiskSaver):
        uploaded: ClassVar[list[str]] = []

        def __call__(self, checkpoint: Any, filename: str, metadata: Any = None) -> None:
            super().__call__(checkpoint, filename, metadata)
            self.uploaded.append(filename)

    handler = Checkpoint({"m": Counter()}, Uploads(tmp_path))
    handler(engine_at())

    record = read_record(tmp_path / "m_203.pt")
    assert record is not None
    assert record.step == 203
    assert Uploads.uploaded == ["m_203.pt"]
    with pytest.raises(ArgumentTypeError):
        Uploads(tmp_path, nonsense=1)
