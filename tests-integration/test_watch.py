"""Watching a training: the example as it stands, and what is written and averaged when a run is resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from camshaft.engine import Engine, Events
from camshaft.handlers import (
    Checkpoint,
    CSVLogger,
    ExponentialMovingAverage,
    History,
    LRScheduler,
    Profiler,
    ProgressBar,
    TensorBoardLogger,
    global_step_from_engine,
    lr_range_test,
    with_warmup,
)
from camshaft.supervised import create_supervised_trainer
from warm_python import WarmPython

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

WATCH = Path(__file__).parent.parent / "examples" / "watch.py"
EPOCHS = 3
BATCHES = 5


@pytest.fixture(scope="module")
def watched(warm_python: WarmPython, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Run the example; return what it prints and the folder that it writes."""
    folder = tmp_path_factory.mktemp("watched")
    ran = warm_python.run("-W", "error", WATCH, "--folder", folder, "--epochs", 4)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout, folder


def test_example_learns_and_says_where_the_time_went(watched: tuple[str, Path]) -> None:
    printed, _ = watched
    lines = printed.splitlines()

    assert lines[0].startswith("suggested learning rate: 0.0")
    assert {line.split()[0] for line in lines} >= {"step", "data", "ITERATION_COMPLETED", "EPOCH_COMPLETED", "total"}
    assert float(lines[-1].split()[1].rstrip("%,")) >= 95


def test_example_writes_the_pictures(watched: tuple[str, Path]) -> None:
    _, folder = watched

    for name in ("learning-curve.png", "lr-range-test.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_example_writes_a_line_per_epoch_and_engine(watched: tuple[str, Path]) -> None:
    _, folder = watched
    rows = History.read(folder / "history.jsonl")

    assert [row["epoch"] for row in rows if "train/loss" in row] == [1, 2, 3, 4]
    assert [row["epoch"] for row in rows if "validation/accuracy" in row] == [1, 2, 3, 4]


def test_example_measures_its_second_and_third_epoch(watched: tuple[str, Path]) -> None:
    _, folder = watched
    profile = json.loads((folder / "profile.json").read_text())
    trace = json.loads((folder / "trace.json").read_text())["traceEvents"]

    counts = {row["name"]: row["count"] for row in profile["phases"]}
    assert counts["step"] == 90
    assert {event["args"]["iteration"] for event in trace if event["ph"] == "X"} == set(range(46, 136))
    assert 0 < sum(row["share"] for row in profile["phases"] + profile["events"]) <= 1


class Job:
    """A training on random numbers that everything watches, with a checkpoint in each iteration."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        x = torch.randn(BATCHES * 4, 3)
        self.data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 4, shuffle=True)
        self.model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.trainer = create_supervised_trainer(self.model, self.optimizer, nn.functional.mse_loss, deterministic=True)
        self.evaluator: Engine[Any, Any] = Engine(self.evaluate)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, EPOCHS * BATCHES - 4)
        self.scheduler = LRScheduler(with_warmup(cosine, steps=4))
        self.average = ExponentialMovingAverage(self.model, decay=0.7)
        self.files = folder / "files"
        self.history, self.log = History(self.files / "history.jsonl"), CSVLogger(self.files / "log.csv")
        self.board = TensorBoardLogger(self.files / "board")
        self.bar = ProgressBar(running_average=0.9, disable=True)
        self.parts = {
            "trainer": self.trainer, "model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler,
            "average": self.average, "history": self.history, "log": self.log, "board": self.board, "bar": self.bar,
        }  # fmt: skip
        self.attach(Checkpoint(self.parts, folder / "checkpoints", n_saved=None))

    def attach(self, checkpoint: Checkpoint) -> None:
        """Attach the checkpoint first: what it saves does not depend on the order."""
        trainer, evaluator = self.trainer, self.evaluator
        trainer.add_event_handler(Events.ITERATION_COMPLETED | Events.EPOCH_COMPLETED, checkpoint)
        self.bar.attach(trainer, output_transform=lambda loss: {"loss": loss})
        self.average.attach(trainer)
        for logger in (self.log, self.board):
            logger.attach(
                trainer, Events.ITERATION_COMPLETED, output_transform=lambda loss: {"loss": loss},
                values=lambda engine: {"lr": self.optimizer.param_groups[0]["lr"]},
            )  # fmt: skip
        self.scheduler.attach(trainer)
        self.average.attach_to_evaluator(evaluator)
        self.history.attach(
            evaluator, Events.COMPLETED, tag="test", output_transform=lambda prediction: {"mean": prediction},
            global_step_transform=global_step_from_engine(trainer),
        )  # fmt: skip
        trainer.add_event_handler(Events.EPOCH_COMPLETED, evaluator.run, [torch.ones(2, 3)])

    def evaluate(self, engine: Engine[Any, Any], batch: torch.Tensor) -> float:
        """Return the mean prediction, made without dropout."""
        self.model.eval()
        with torch.no_grad():
            return float(self.model(batch).mean())

    def run(self) -> Job:
        """Train to the end."""
        self.trainer.run(self.data, max_epochs=EPOCHS, seed=3)
        return self

    def result(self) -> list[Any]:
        """Return all that the training leaves behind: what was written, and what it computed."""
        reader = event_accumulator.EventAccumulator(str(self.files / "board"))
        reader.Reload()
        shown = {name: [(each.step, each.value) for each in reader.Scalars(name)] for name in ("loss", "lr")}
        written = [(self.files / name).read_text() for name in ("history.jsonl", "log.csv")]
        tensors = {**self.model.state_dict(), **self.average.state_dict()}
        computed = {name: value.tolist() for name, value in tensors.items()}
        return [written, shown, computed, self.bar.state_dict(), self.scheduler.state_dict()]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Any], Path]:
    """Return what a training leaves that was never stopped, and its folder."""
    folder = tmp_path_factory.mktemp("straight")
    return Job(folder).run().result(), folder


@pytest.mark.parametrize("iteration", range(1, EPOCHS * BATCHES))
def test_resumed_run_writes_and_averages_what_one_does_that_was_never_stopped(
    iteration: int, straight: tuple[list[Any], Path], tmp_path: Path
) -> None:
    expected, folder = straight
    # The run went on behind its checkpoint, up to the middle of a line.
    shutil.copytree(folder / "files", tmp_path / "files")
    for name in ("history.jsonl", "log.csv"):
        with (tmp_path / "files" / name).open("a") as file:
            file.write('{"ep')

    job = Job(tmp_path)
    Checkpoint.load_objects(job.parts, folder / "checkpoints" / f"checkpoint_{iteration}.pt")
    job.run()

    assert job.result() == expected


def test_watched_run_is_the_run_that_nobody_watches(tmp_path: Path) -> None:
    plain, profiled = (Job(tmp_path / name) for name in ("plain", "profiled"))
    lr_range_test(profiled.trainer, profiled.data, profiled.model, profiled.optimizer, iterations=10)
    profiler = Profiler()
    profiler.attach(profiled.trainer)

    assert profiled.run().result() == plain.run().result()
    assert {row["name"]: row["count"] for row in profiler.summary()["phases"]}["step"] == EPOCHS * BATCHES
