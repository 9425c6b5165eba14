from __future__ import annotations

import pytest
import torch

from camshaft.engine import Engine, Events
from camshaft.supervised import create_supervised_evaluator, create_supervised_trainer, supervised_evaluation_step

DATA = [(torch.ones(2, 3), torch.ones(2))] * 3


def make_model() -> torch.nn.Sequential:
    """Return a model in training mode with one frozen layer inside."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Sequential(torch.nn.Dropout(), torch.nn.BatchNorm1d(1)))
    model[1][1].eval()
    return model


def evaluator_of_ones_own(model: torch.nn.Module) -> Engine:
    return Engine(supervised_evaluation_step(model))


def modes(model: torch.nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def test_the_output_is_prediction_and_target_without_gradients():
    model = torch.nn.Linear(3, 1)

    y_pred, y = create_supervised_evaluator(model).run(DATA).output

    assert torch.equal(y_pred, model(DATA[0][0]))
    assert not y_pred.requires_grad
    assert y is DATA[0][1]


def test_the_model_evaluates_during_the_run():
    model = make_model()
    evaluator = create_supervised_evaluator(model)
    seen = []
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(any(modes(model))))

    evaluator.run(DATA)

    assert seen == [False] * 3


def test_a_handler_that_switches_to_training_is_switched_back():
    model = make_model()
    evaluator = create_supervised_evaluator(model, output_transform=lambda *_: any(modes(model)))
    evaluator.add_event_handler(Events.ITERATION_STARTED, lambda: model.train() and None)

    assert evaluator.run(DATA).output is False


@pytest.mark.parametrize("make_evaluator", [create_supervised_evaluator, evaluator_of_ones_own])
def test_every_mode_is_put_back_at_the_end(make_evaluator):
    model = make_model()
    before = modes(model)
    evaluator = make_evaluator(model)

    for _ in range(2):
        evaluator.run(DATA)
        assert modes(model) == before


@pytest.mark.parametrize("make_evaluator", [create_supervised_evaluator, evaluator_of_ones_own])
@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda engine: engine.terminate(), id="terminate"),
        pytest.param(lambda engine: engine.terminate(skip_completed=True), id="terminate without COMPLETED"),
        pytest.param(lambda engine: engine.interrupt(), id="interrupt"),
    ],
)
def test_every_mode_is_put_back_when_the_run_is_stopped(make_evaluator, end):
    model = make_model()
    before = modes(model)
    evaluator = make_evaluator(model)
    evaluator.add_event_handler(Events.ITERATION_COMPLETED(once=2), end)

    evaluator.run(DATA)

    assert modes(model) == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED(once=2), Events.EPOCH_COMPLETED])
def test_every_mode_is_put_back_when_the_run_fails(error, event):
    model = make_model()
    before = modes(model)
    evaluator = create_supervised_evaluator(model)

    @evaluator.on(event)
    def fail():
        raise error

    with pytest.raises(error):
        evaluator.run(DATA)

    assert modes(model) == before


def test_every_mode_is_put_back_when_the_model_fails():
    model = make_model()
    before = modes(model)

    with pytest.raises(RuntimeError, match="shapes"):
        create_supervised_evaluator(model).run([(torch.ones(2, 4), torch.ones(2))])

    assert modes(model) == before


def test_an_interrupted_evaluation_continues_in_evaluation_mode():
    model = make_model()
    before = modes(model)
    evaluator = create_supervised_evaluator(model, output_transform=lambda *_: any(modes(model)))
    evaluator.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda engine: engine.interrupt())
    evaluator.run(DATA)

    assert evaluator.run(DATA).output is False
    assert modes(model) == before


def test_training_continues_unharmed_after_an_evaluation_inside_it():
    model = make_model()
    trainer = create_supervised_trainer(
        model, torch.optim.SGD(model.parameters(), lr=0.1), lambda y_pred, y: (y_pred[:, 0] - y).square().mean()
    )
    evaluator = create_supervised_evaluator(model)
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: evaluator.run(DATA))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(modes(model)))

    trainer.run(DATA)

    assert seen == [modes(model)] * 3
    assert modes(model) == modes(make_model())


def test_a_step_called_by_hand_leaves_nothing_recorded():
    model = make_model()
    step = supervised_evaluation_step(model)

    step(Engine(step), DATA[0])

    assert not any(modes(model))
