"""Handlers, metrics and generators of a run on a GPU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from gpu_training import (
    DEVICE,
    assert_same,
    make_batches,
    make_model,
    make_optimizer,
    make_trainer,
    needs_gpu,
    values,
)
from torch.nn.functional import cross_entropy
from torchmetrics.classification import MulticlassAccuracy

from camshaft.deterministic import DeterministicEngine
from camshaft.engine import Engine, Events
from camshaft.handlers import ExponentialMovingAverage, RunningAverage, TerminateOnNan, lr_range_test
from camshaft.supervised import attach_mean_loss, create_supervised_evaluator

pytestmark = needs_gpu


def new_trainer(**options: Any) -> tuple[Engine[Any, Any], torch.nn.Module]:
    model = make_model()
    return make_trainer(model, make_optimizer(model), **options), model


def test_the_moving_average_is_on_the_gpu_and_as_by_hand() -> None:
    trainer, model = new_trainer()
    average = ExponentialMovingAverage(model, decay=0.5)
    average.attach(trainer)
    weights: list[torch.Tensor] = []
    (weight, *_), (average_weight, *_) = model.parameters(), average.module.parameters()
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: weights.append(weight.detach().clone()))
    trainer.run(make_batches())

    expected = weights[0]
    for each in weights[1:]:
        expected = 0.5 * expected + 0.5 * each
    assert average_weight.device.type == DEVICE
    torch.testing.assert_close(average_weight, expected)


def test_a_moving_average_saved_on_the_gpu_loads_on_the_cpu() -> None:
    trainer, model = new_trainer()
    average = ExponentialMovingAverage(model)
    average.attach(trainer)
    trainer.run(make_batches())
    on_cpu = ExponentialMovingAverage(make_model().to("cpu"))
    on_cpu.load_state_dict(average.state_dict())
    assert_same(values(average), values(on_cpu))


def test_a_loss_that_is_not_finite_ends_the_run_in_its_iteration() -> None:
    trainer, _ = new_trainer()
    trainer.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
    batches = make_batches()
    batches[3][0][0, 0, 0, 0] = float("nan")
    trainer.run(batches)
    assert trainer.state.iteration == 4


def test_metrics_of_an_evaluator_on_the_gpu_are_those_on_the_cpu() -> None:
    results = [
        create_supervised_evaluator(make_model().to(device), {"accuracy": MulticlassAccuracy(4)}, device=device)
        .run(make_batches(device="cpu"))
        .metrics["accuracy"]
        for device in (DEVICE, "cpu")
    ]
    assert results[0] == pytest.approx(results[1], abs=0.05)  # a GPU may round, and decide one sample the other way


def test_the_mean_loss_of_a_trainer_is_computed_where_its_loss_is() -> None:
    trainer, _ = new_trainer()
    losses: list[Any] = []
    attach_mean_loss(trainer)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: losses.append(trainer.state.output))
    trainer.run(make_batches())
    assert trainer.state.metrics["loss"] == pytest.approx(sum(map(float, losses)) / len(losses))


def test_the_mean_loss_of_an_evaluator_is_computed_where_its_loss_is() -> None:
    evaluator = create_supervised_evaluator(make_model(), device=DEVICE)
    attach_mean_loss(evaluator, cross_entropy)
    assert evaluator.run(make_batches()).metrics["loss"] > 0


def test_a_running_average_takes_losses_of_the_gpu() -> None:
    trainer, _ = new_trainer()
    RunningAverage().attach(trainer, "loss")
    trainer.run(make_batches())
    assert 0 < float(trainer.state.metrics["loss"]) < 10


def test_random_numbers_of_the_gpu_go_on_where_a_run_was_saved() -> None:
    def engine(drawn: list[Any]) -> DeterministicEngine[Any, Any]:
        return DeterministicEngine(lambda engine, batch: drawn.append(torch.rand(2, device=DEVICE).tolist()))

    whole: list[Any] = []
    parts: list[Any] = []
    engine(whole).run([1, 2, 3, 4], seed=7)
    first, second = engine(parts), engine(parts)
    first.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: first.terminate())
    first.run([1, 2, 3, 4], seed=7)
    torch.rand(5, device=DEVICE)
    second.load_state_dict(first.state_dict())
    second.run([1, 2, 3, 4])
    assert whole == parts


def test_a_search_for_the_learning_rate_leaves_the_gpu_as_it_was() -> None:
    model = make_model()
    optimizer = make_optimizer(model)
    trainer = make_trainer(model, optimizer)
    trainer.run(make_batches())
    before = [values(model), values(optimizer)]
    torch.manual_seed(3)
    torch.rand(2, device=DEVICE)
    lr_range_test(trainer, make_batches(), model, optimizer, end_lr=0.1, iterations=4)
    actual = torch.rand(3, device=DEVICE)
    torch.manual_seed(3)
    torch.rand(2, device=DEVICE)
    expected = torch.rand(3, device=DEVICE)
    assert_same(before, [values(model), values(optimizer)])
    assert torch.equal(expected, actual)
