"""With every package attached, a run fires what the oracle of engine-core says: no handler shifts an event."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric

from camshaft.engine import Engine, Events
from camshaft.engine.testing import Entry, EventLog, Oracle, Programme, Stop, record_events
from camshaft.handlers import Checkpoint, EarlyStopping, ProgressBar, TerminateOnNan, TimeLimit, Timer
from camshaft.supervised import attach_metrics, create_supervised_evaluator, create_supervised_trainer

BATCHES = 5


class Failure(Exception):  # noqa: N818  # what a handler of the test raises
    pass


def loader() -> DataLoader[Any]:
    x = torch.arange(2.0 * BATCHES).reshape(-1, 1)
    return DataLoader(TensorDataset(x, 2 * x), batch_size=2, shuffle=True)


def make_trainer(folder: Path, accumulation: int) -> Engine[Any, Any]:
    """Return a deterministic trainer with a handler of every kind on it."""
    torch.manual_seed(0)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    loss_fn = nn.functional.mse_loss
    trainer = create_supervised_trainer(
        model, optimizer, loss_fn, deterministic=True, gradient_accumulation_steps=accumulation
    )
    evaluator = create_supervised_evaluator(model)
    attach_metrics(evaluator, {"loss": MeanMetric()}, output_transform=lambda output: loss_fn(*output))
    evaluation_data = loader()
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run(evaluation_data))
    evaluator.add_event_handler(Events.COMPLETED, EarlyStopping(50, lambda e: -e.state.metrics["loss"], trainer))
    evaluator.add_event_handler(Events.COMPLETED, Checkpoint({"model": model}, folder, "best", score_name="loss"))
    latest = Checkpoint({"trainer": trainer, "model": model, "optimizer": optimizer}, folder, "latest")
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=2) | Events.EPOCH_COMPLETED, latest)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TimeLimit(3600))
    Timer(average=True).attach(trainer, resume=Events.ITERATION_STARTED, step=Events.ITERATION_COMPLETED)
    ProgressBar(file=io.StringIO()).attach(trainer, output_transform=lambda loss: loss)
    return trainer


def attach_stops(engine: Engine[Any, Any], stops: tuple[Stop, ...], seen: dict[str, int]) -> None:
    """Let the engine be stopped as the programme says; `seen` counts firings over all its engines."""
    for event in {stop.event for stop in stops}:

        def act(engine: Engine[Any, Any], *event_args: Any, event: str = event) -> None:
            seen[event] = seen.get(event, 0) + 1
            for stop in stops:
                if stop[:2] == (event, seen[event]):
                    if stop.action == "raise":
                        raise Failure
                    getattr(engine, stop.action)()

        engine.add_event_handler(Events[event], act)


def run_once(engine: Engine[Any, Any], log: EventLog, programme: Programme) -> list[tuple[str, int, int]]:
    log.clear()
    with contextlib.suppress(Failure):  # the programme's own
        engine.run(loader(), programme.max_epochs, programme.epoch_length, 3, max_iters=programme.max_iters)
    return [(entry.event, entry.epoch, entry.iteration) for entry in log]


def expected(entries: list[Entry]) -> list[tuple[str, int, int]]:
    return [(entry.event, entry.epoch, entry.iteration) for entry in entries if entry.event != "STEP"]


PROGRAMMES = {
    "whole epochs": Programme(lengths=(BATCHES,), max_epochs=3),
    "short epochs": Programme(lengths=(BATCHES,), max_epochs=3, epoch_length=3),
    "long epochs": Programme(lengths=(BATCHES,), max_epochs=2, epoch_length=7),
    "a number of iterations": Programme(lengths=(BATCHES,), max_iters=8),
}


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("name", PROGRAMMES)
def test_order_is_that_of_the_oracle(name: str, accumulation: int, tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, accumulation)
    log = record_events(trainer)

    fired = run_once(trainer, log, PROGRAMMES[name])

    assert fired == expected(Oracle(PROGRAMMES[name]).run())


@pytest.mark.parametrize("occurrence", [1, 2, 4])
@pytest.mark.parametrize("action", ["terminate", "terminate_epoch", "raise"])
@pytest.mark.parametrize("event", ["GET_BATCH_STARTED", "ITERATION_STARTED", "ITERATION_COMPLETED"])
def test_order_is_that_of_the_oracle_when_a_stopped_run_is_loaded_by_another(
    event: str, action: Any, occurrence: int, tmp_path: Path
) -> None:
    stops = (Stop(event, occurrence, action),)
    programme = replace(PROGRAMMES["whole epochs"], stops=stops)
    oracle, seen = Oracle(programme), dict[str, int]()
    trainer = make_trainer(tmp_path / "first", 1)
    log = record_events(trainer)
    attach_stops(trainer, stops, seen)
    fired, wanted = run_once(trainer, log, programme), expected(oracle.run())
    if not oracle.is_finished:
        another = make_trainer(tmp_path / "second", 1)
        log = record_events(another)
        attach_stops(another, stops, seen)
        another.load_state_dict(trainer.state_dict())
        oracle.reload()
        fired += run_once(another, log, programme)
        wanted += expected(oracle.run())

    assert fired == wanted
    assert oracle.is_finished
