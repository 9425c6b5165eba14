"""The best checkpoints of a run that is resumed: they are compared with, or a warning says that they are not."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from checkpoint_parts import Counter, by_score, engine_at
from hypothesis import given, settings
from hypothesis import strategies as st

from camshaft.engine import Engine, EngineWarning, Events
from camshaft.handlers import Checkpoint, DiskSaver

torch = pytest.importorskip("torch")


class Job:
    """A process that keeps the best and the latest."""

    def __init__(self, directory: Path, *, saves_best: bool = True) -> None:
        model = torch.nn.Linear(1, 1)
        self.evaluator: Engine[Any, Any] = Engine(lambda engine, batch: None)
        self.best = Checkpoint({"model": model}, directory, "best", score_name="accuracy")
        to_save = {"model": model, "evaluator": self.evaluator, **({"best": self.best} if saves_best else {})}
        self.latest = Checkpoint(to_save, directory, "latest")

    def score(self, accuracy: float) -> None:
        self.evaluator.state.metrics["accuracy"] = accuracy
        self.evaluator.state.iteration += 1
        self.best(self.evaluator)
        self.latest(self.evaluator)


def names_of_best(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("best*"))


def test_a_best_that_is_saved_with_the_run_keeps_out_what_is_worse_after_resuming(tmp_path: Path) -> None:
    Job(tmp_path).score(0.9)
    resumed = Job(tmp_path)
    resumed.latest.restore_latest()
    resumed.score(0.5)

    assert names_of_best(tmp_path) == ["best_model_accuracy=0.9000.pt"]


def test_a_best_that_was_saved_after_the_run_was_is_compared_with_after_resuming(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.score(0.7)
    job.evaluator.state.metrics["accuracy"] = 0.9
    job.best(job.evaluator)  # 0.7 is removed; then the process is killed
    resumed = Job(tmp_path)
    resumed.latest.restore_latest()
    resumed.score(0.8)

    assert names_of_best(tmp_path) == ["best_model_accuracy=0.9000.pt"]
    assert resumed.best.last_checkpoint == tmp_path / "best_model_accuracy=0.9000.pt"


def test_the_first_best_that_was_saved_after_the_run_was_is_taken_up_with_a_warning(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.latest(job.evaluator)
    job.evaluator.state.metrics["accuracy"] = 0.9
    job.best(job.evaluator)
    resumed = Job(tmp_path)
    with pytest.warns(EngineWarning, match=r"0\.9000\.pt is there, and the saved list .* is empty.* call reset\(\)"):
        resumed.latest.restore_latest()
    resumed.score(0.8)

    assert names_of_best(tmp_path) == ["best_model_accuracy=0.9000.pt"]


def test_the_best_of_an_earlier_run_in_the_directory_stays_out_of_a_resumed_list(tmp_path: Path) -> None:
    Job(tmp_path, saves_best=False).score(0.95)
    job = Job(tmp_path)
    job.best.reset()
    job.score(0.5)
    job.evaluator.state.metrics["accuracy"] = 0.6
    job.best(job.evaluator)
    resumed = Job(tmp_path)
    resumed.latest.restore_latest()
    resumed.score(0.7)

    assert names_of_best(tmp_path) == ["best_model_accuracy=0.7000.pt", "best_model_accuracy=0.9500.pt"]


def test_a_best_that_was_not_restored_warns_at_its_first_save_and_only_there(tmp_path: Path) -> None:
    Job(tmp_path, saves_best=False).score(0.9)
    resumed = Job(tmp_path, saves_best=False)
    resumed.latest.restore_latest()
    with pytest.warns(EngineWarning, match=r"holds best_model_accuracy=0\.9000\.pt.* put this Checkpoint into"):
        resumed.score(0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.score(0.6)

    assert names_of_best(tmp_path) == ["best_model_accuracy=0.6000.pt", "best_model_accuracy=0.9000.pt"]


@pytest.mark.filterwarnings("error")
def test_a_best_that_was_restored_from_its_own_files_or_reset_does_not_warn(tmp_path: Path) -> None:
    Job(tmp_path, saves_best=False).score(0.9)
    restored, begun = Job(tmp_path), Job(tmp_path)
    restored.best.restore_latest()
    restored.score(0.95)
    begun.best.reset()
    begun.score(0.5)

    assert names_of_best(tmp_path) == ["best_model_accuracy=0.5000.pt", "best_model_accuracy=0.9500.pt"]


@pytest.mark.filterwarnings("error")
def test_files_of_other_handlers_do_not_make_a_best_warn(tmp_path: Path) -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    engine.state.metrics.update(accuracy=0.9, loss=0.1)
    objects = {"model": torch.nn.Linear(1, 1)}
    for handler in (
        Checkpoint(objects, tmp_path),
        Checkpoint(objects, tmp_path, score_name="loss"),
        Checkpoint(objects, tmp_path, "best", score_name="accuracy"),
        Checkpoint(objects, tmp_path, score_name="accuracy"),
        Checkpoint(objects, tmp_path, score_function=lambda engine: 0.3),
    ):
        handler(engine)

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best_model_accuracy=0.9000.pt",
        "model_0.3000.pt",
        "model_0.pt",
        "model_accuracy=0.9000.pt",
        "model_loss=0.1000.pt",
    ]


SCORES = st.lists(st.integers(1, 6), min_size=5, max_size=5)


class Epochs:
    """A process that saves the best and the latest in each epoch, in this or in the other order."""

    def __init__(self, directory: Path, n_saved: int, *, evaluates_first: bool) -> None:
        self.done = Counter()
        saver = DiskSaver(directory, require_empty=False, durable=False)
        self.best = by_score(saver, filename_prefix="best", score_name="score", n_saved=n_saved)
        self.latest = Checkpoint({"done": self.done, "best": self.best}, saver, "latest")
        self.evaluates_first = evaluates_first

    def saves(self, scores: list[int]) -> Iterator[None]:
        """Save, as often as the caller goes on: it may stop between any two saves, as a kill does."""
        for epoch in range(self.done.count, len(scores)):
            engine = engine_at(epoch)
            engine.state.score = scores[epoch]
            self.done.count = epoch + self.evaluates_first
            for save in (self.best, self.latest) if self.evaluates_first else (self.latest, self.best):
                save(engine)
                yield


@settings(max_examples=25)
@given(SCORES, SCORES, st.integers(1, 3), st.booleans(), st.integers(2, 10))
@pytest.mark.filterwarnings("ignore:best_m")  # a list that is empty says what it takes up
def test_a_run_killed_between_two_saves_keeps_the_best_and_forgets_no_file(
    tmp_path_factory: pytest.TempPathFactory,
    scores: list[int],
    other_scores: list[int],
    n_saved: int,
    evaluates_first: bool,
    killed_after: int,
) -> None:
    directory = tmp_path_factory.mktemp("run")
    killed = Epochs(directory, n_saved, evaluates_first=evaluates_first).saves(scores)
    for _ in islice(killed, killed_after):
        pass
    before = names_of_best(directory)
    resumed = Epochs(directory, n_saved, evaluates_first=evaluates_first)
    resumed.latest.restore_latest()
    for _ in resumed.saves(other_scores):
        pass

    kept = names_of_best(directory)
    assert kept == sorted(name for _, name in resumed.best.state_dict()["_saved"])
    assert len(kept) <= n_saved
    assert isinstance(resumed.best.last_checkpoint, Path)
    highest = max(name.rpartition("=")[2] for name in (*before, *kept))
    assert resumed.best.last_checkpoint.name.rpartition("=")[2] == highest


class Nested:
    """A run of three epochs, after each of which the latest is asked for before the best, whose list it holds."""

    def __init__(self, directory: Path, *, asynchronous: bool = False) -> None:
        self.trainer: Engine[Any, Any] = Engine(lambda engine, batch: None)
        saver = {name: DiskSaver(directory / name, asynchronous=asynchronous) for name in ("best", "latest")}
        self.best = Checkpoint({"counter": Counter()}, saver["best"], "best", by_epoch, "score", n_saved=2)
        self.latest = Checkpoint(self.objects(), saver["latest"], "latest", n_saved=None)
        for handler in (self.latest, self.best):
            self.trainer.add_event_handler(Events.EPOCH_COMPLETED, handler)

    def objects(self) -> dict[str, Any]:
        return {"trainer": self.trainer, "handlers": [self.best]}

    def names_in_latest(self) -> list[list[str]]:
        """Return, for each save of the run, the best files that it names; they are there."""
        found: dict[Any, list[str]] = {}

        @self.trainer.on(Checkpoint.SAVED_CHECKPOINT)
        def look() -> None:
            path = self.latest.newest_checkpoint
            if path is not None and path not in found:
                found[path] = [name for _, name in torch.load(path)["handlers"][0]["_saved"]]
                assert all(self.best.save_handler.path_of(name).exists() for name in found[path])

        self.trainer.run([1], max_epochs=3)
        return list(found.values())


def by_epoch(engine: Engine[Any, Any]) -> float:
    return float(engine.state.epoch)


BEST = [f"best_counter_score={epoch}.0000.pt" for epoch in (1, 2, 3)]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_saves_of_a_handler_come_before_that_of_the_run_it_is_saved_with(tmp_path: Path, asynchronous: bool) -> None:
    assert Nested(tmp_path, asynchronous=asynchronous).names_in_latest() == [BEST[:1], BEST[:2], BEST[1:]]


def test_so_do_those_of_a_handler_that_an_engine_is_saved_with(tmp_path: Path) -> None:
    class InEngine(Nested):
        def objects(self) -> dict[str, Any]:
            self.trainer.stateful["best"] = self.best
            return {"trainer": self.trainer, "handlers": [self.best]}

    assert InEngine(tmp_path).names_in_latest() == [BEST[:1], BEST[:2], BEST[1:]]


def test_two_handlers_that_hold_each_other_save_once_each(tmp_path: Path) -> None:
    job = Nested(tmp_path)
    job.best.to_save = {"counter": Counter(), "latest": job.latest}
    names = job.names_in_latest()

    assert len(names) == 3
    assert [path.name for path in sorted((tmp_path / "best").glob("*.pt"))] == [
        name.replace("counter", "checkpoint") for name in BEST[1:]
    ]


def test_a_save_that_a_failed_run_has_dropped_is_not_made_up_later(tmp_path: Path) -> None:
    job = Nested(tmp_path)
    job.trainer.share_requests(lambda event, position, wishes: [])  # a run that fails comes to no safe point then

    @job.trainer.on(Events.EPOCH_COMPLETED)
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        job.trainer.run([1])
    job.latest(job.trainer)  # outside a run: at once

    assert job.latest.newest_checkpoint is not None
    assert job.best.newest_checkpoint is None
