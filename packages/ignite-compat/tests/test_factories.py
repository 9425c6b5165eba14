import inspect

import pytest
import torch
from torch.nn.functional import mse_loss

from ignite.engine import (
    DeterministicEngine,
    Engine,
    Events,
    create_supervised_evaluator,
    create_supervised_trainer,
    supervised_evaluation_step,
    supervised_evaluation_step_amp,
    supervised_training_step,
    supervised_training_step_amp,
    supervised_training_step_tpu,
)
from ignite.metrics import Loss, MeanSquaredError

FACTORIES = {
    create_supervised_trainer: "model optimizer loss_fn device non_blocking prepare_batch model_transform "
    "output_transform deterministic amp_mode scaler gradient_accumulation_steps model_fn",
    create_supervised_evaluator: "model metrics device non_blocking prepare_batch model_transform output_transform "
    "amp_mode model_fn",
    supervised_training_step: "model optimizer loss_fn device non_blocking prepare_batch model_transform "
    "output_transform gradient_accumulation_steps model_fn",
    supervised_training_step_amp: "model optimizer loss_fn device non_blocking prepare_batch model_transform "
    "output_transform scaler gradient_accumulation_steps model_fn",
    supervised_training_step_tpu: "model optimizer loss_fn device non_blocking prepare_batch model_transform "
    "output_transform gradient_accumulation_steps model_fn",
    supervised_evaluation_step: "model device non_blocking prepare_batch model_transform output_transform model_fn",
    supervised_evaluation_step_amp: "model device non_blocking prepare_batch model_transform output_transform model_fn",
}


@pytest.fixture
def training():
    """Model, optimizer, loss and data, made from one seed."""
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(3)
    data = [(torch.randn(4, 2, generator=generator), torch.randn(4, 1, generator=generator)) for _ in range(6)]
    return model, optimizer, mse_loss, data


def losses(trainer, data, **limits):
    seen = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.output))
    trainer.run(data, **limits)
    return seen


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.__name__)
def test_arguments_have_the_order_of_ignite(factory):
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    parameters = [each.name for each in inspect.signature(factory).parameters.values() if each.kind in kinds]
    assert FACTORIES[factory].split() == parameters


def test_a_trainer_returns_the_loss_as_a_number(training):
    model, optimizer, loss_fn, data = training
    seen = losses(create_supervised_trainer(model, optimizer, loss_fn), data, max_epochs=2)
    # What pytorch-ignite 0.5.5 computes for the same program.
    expected = [2.18868, 0.46262, 2.03621, 0.70943, 0.48245, 0.48169, 1.35926, 0.50721, 1.29134, 0.90027, 0.47199]
    assert pytest.approx([*expected, 0.24598], abs=1e-5) == seen
    assert {float} == {type(value) for value in seen}
    assert pytest.approx([0.0618, 0.11994], abs=1e-5) == model.weight.flatten().tolist()


def test_a_step_by_hand_returns_the_loss_as_a_number(training):
    model, optimizer, loss_fn, data = training
    trainer = Engine(supervised_training_step(model, optimizer, loss_fn))
    assert pytest.approx(2.18868, abs=1e-5) == losses(trainer, data)[0]


def test_all_arguments_can_be_given_by_position(training):
    model, optimizer, loss_fn, data = training

    def prepare(batch, device, non_blocking):
        return batch[0] * 2, batch[1]

    trainer = create_supervised_trainer(
        model, optimizer, loss_fn, "cpu", False, prepare, lambda output: output + 1,
        lambda x, y, y_pred, loss: (tuple(x.shape), tuple(y_pred.shape), loss.requires_grad),
        True, None, False, 2, lambda model, x: model(x) - 1,
    )  # fmt: skip
    assert isinstance(trainer, DeterministicEngine)
    assert ((4, 2), (4, 1), True) == trainer.run(data).output


def test_an_evaluator_attaches_metrics_of_ignite(training):
    model, _, loss_fn, data = training
    metrics = {"mse": MeanSquaredError(), "loss": Loss(loss_fn)}
    evaluator = create_supervised_evaluator(model, metrics=metrics)
    state = evaluator.run(data)
    with torch.no_grad():
        expected = sum(mse_loss(model(x), y).item() for x, y in data) / len(data)
    assert pytest.approx(expected) == state.metrics["mse"] == state.metrics["loss"]
    y_pred, y = state.output
    assert ((4, 1), False) == (tuple(y_pred.shape), y_pred.requires_grad)
    assert torch.equal(data[-1][1], y)


def test_an_evaluator_attaches_metrics_of_torchmetrics(training):
    from torchmetrics import MeanSquaredError as Error

    model, _, _, data = training
    evaluator = create_supervised_evaluator(model, {"error": Error(), "mse": MeanSquaredError()})
    state = evaluator.run(data)
    assert pytest.approx(state.metrics["mse"]) == state.metrics["error"]


@pytest.mark.parametrize("make", [create_supervised_trainer, supervised_training_step])
def test_an_unknown_argument_is_refused(training, make):
    model, optimizer, loss_fn, _ = training
    with pytest.raises(TypeError, match="unknown"):
        make(model, optimizer, loss_fn, unknown=1)
