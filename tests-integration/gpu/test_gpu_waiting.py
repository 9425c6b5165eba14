"""No iteration of a training waits for the GPU, but where a user's own choice needs a number."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gpu_training import (
    BFLOAT16,
    DEVICE,
    FLOAT16,
    FULL,
    count_waits,
    count_waits_of,
    make_batches,
    make_model,
    make_optimizer,
    make_trainer,
    needs_gpu,
    waiting_refused,
)
from torchmetrics import MeanMetric

from camshaft.engine import Engine, Events
from camshaft.handlers import ExponentialMovingAverage, RunningAverage, TerminateOnNan
from camshaft.supervised import attach_metrics, create_supervised_evaluator

pytestmark = [needs_gpu, pytest.mark.skipif(DEVICE != "cuda", reason="torch only tells where CUDA waits")]

ITERATIONS = 6
NEVER_WAITING: dict[str, dict[str, Any]] = {
    "full": FULL,
    "bfloat16": BFLOAT16,
    "accumulated": {"gradient_accumulation_steps": 3},
    "accumulated with a rest": {"gradient_accumulation_steps": 4},
    "clipped by norm": {"clip_grad_norm": 1.0},
    "clipped by value": {"clip_grad_value": 0.1},
    "bfloat16, accumulated, clipped": {**BFLOAT16, "gradient_accumulation_steps": 2, "clip_grad_norm": 1.0},
}


def warm_trainer(optimizer_options: dict[str, Any] | None = None, **options: Any) -> Engine[Any, Any]:
    """Return a trainer whose first run, which prepares the GPU, is over."""
    model = make_model()
    trainer = make_trainer(model, make_optimizer(model, **(optimizer_options or {})), **options)
    trainer.run(make_batches(ITERATIONS))
    return trainer


@pytest.mark.parametrize("options", NEVER_WAITING.values(), ids=NEVER_WAITING)
def test_no_iteration_waits(options: dict[str, Any]) -> None:
    trainer, batches = warm_trainer(**options), make_batches(ITERATIONS)
    with waiting_refused():
        trainer.run(batches, max_epochs=2)
    assert trainer.state.iteration == 2 * ITERATIONS


def test_the_check_notices_a_step_that_waits() -> None:
    trainer, batches = warm_trainer(output_transform=lambda x, y, y_pred, loss: loss.item()), make_batches(ITERATIONS)
    assert count_waits(lambda: trainer.run(batches)) == ITERATIONS


def test_batches_in_pinned_memory_are_copied_without_waiting() -> None:
    trainer = warm_trainer(non_blocking=True)
    pinned = [(x.pin_memory(), y.pin_memory()) for x, y in make_batches(ITERATIONS, "cpu")]
    with waiting_refused():
        trainer.run(pinned)
    assert trainer.state.iteration == ITERATIONS


def test_a_scaler_waits_once_for_each_optimizer_step_because_torch_reads_whether_to_take_it() -> None:
    trainer, batches = warm_trainer(**FLOAT16, gradient_accumulation_steps=2), make_batches(ITERATIONS)
    assert count_waits(lambda: trainer.run(batches)) == ITERATIONS // 2


@pytest.mark.parametrize("clipping", [{}, {"clip_grad_norm": 1.0}], ids=["plain", "clipped"])
def test_a_scaler_with_a_fused_optimizer_never_waits(clipping: dict[str, Any]) -> None:
    trainer, batches = warm_trainer({"fused": True}, **FLOAT16, **clipping), make_batches(ITERATIONS)
    with waiting_refused():
        trainer.run(batches)
    assert trainer.state.iteration == ITERATIONS


def test_no_iteration_of_an_evaluation_waits() -> None:
    evaluator, batches = create_supervised_evaluator(make_model(), device=DEVICE), make_batches(ITERATIONS)
    evaluator.run(batches)
    with waiting_refused():
        evaluator.run(batches)
    assert evaluator.state.iteration == ITERATIONS


def test_no_iteration_of_a_deterministic_trainer_waits() -> None:
    trainer, batches = warm_trainer(deterministic=True), make_batches(ITERATIONS)
    few, many = count_waits_of(trainer, batches)
    assert few == many


def test_a_mean_that_does_not_look_for_nan_lets_no_iteration_wait() -> None:
    trainer, batches = warm_trainer(), make_batches(ITERATIONS)
    attach_metrics(trainer, {"loss": MeanMetric(nan_strategy="disable")}, device=DEVICE)
    few, many = count_waits_of(trainer, batches)
    assert few == many


def test_a_running_average_lets_no_iteration_wait() -> None:
    trainer, batches = warm_trainer(), make_batches(ITERATIONS)
    RunningAverage().attach(trainer, "loss")
    with waiting_refused():
        trainer.run(batches)
    assert trainer.state.metrics["loss"].device.type == DEVICE


def test_looking_for_nan_waits_once_per_iteration() -> None:
    trainer, batches = warm_trainer(), make_batches(ITERATIONS)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    assert count_waits(lambda: trainer.run(batches)) == ITERATIONS


@pytest.mark.parametrize("use_buffers", [True, False])
def test_a_moving_average_lets_no_iteration_wait(use_buffers: bool) -> None:
    model = make_model()
    trainer, batches = make_trainer(model, make_optimizer(model)), make_batches(ITERATIONS)
    average = ExponentialMovingAverage(model, use_buffers=use_buffers)
    average.attach(trainer)
    trainer.run(batches)
    with waiting_refused():
        trainer.run(batches)
    assert average.state_dict()["n_averaged"] == 2 * ITERATIONS


def test_the_engine_itself_never_waits() -> None:
    engine: Engine[Any, Any] = Engine(lambda engine, batch: batch[0] * 2)
    batches = make_batches(ITERATIONS)
    with waiting_refused():
        output: Any = engine.run(batches).output
    assert torch.equal(batches[-1][0] * 2, output)
