from __future__ import annotations

import pytest

from camshaft.engine import ArgumentError, Engine, Events, StateDictError
from camshaft.handlers import ExponentialMovingAverage

torch = pytest.importorskip("torch")


def make_model(value=0.0):
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm1d(1))
    set_weight(model, value)
    return model


def set_weight(model, value):
    with torch.no_grad():
        model[0].weight.fill_(value)
        model[1].running_mean.fill_(value)


def weight(model):
    return model[0].weight.item()


def train(model, average, values, **options):
    engine = Engine(lambda engine, batch: set_weight(model, batch))
    average.attach(engine, **options)
    engine.run(values)


def test_the_first_update_copies_and_later_ones_average():
    model = make_model(100.0)
    average = ExponentialMovingAverage(model, decay=0.75)

    train(model, average, [8.0, 0.0, 4.0])

    assert weight(average.module) == 8 * 0.75 * 0.75 + 4 * 0.25
    assert weight(model) == 4.0


def test_it_can_average_every_few_iterations():
    model = make_model()
    average = ExponentialMovingAverage(model, decay=0.5)

    train(model, average, [1.0, 2.0, 3.0, 4.0], event=Events.ITERATION_COMPLETED(every=2))

    assert weight(average.module) == 3.0


@pytest.mark.parametrize(("use_buffers", "mean"), [(True, 1.5), (False, 2.0)])
def test_buffers_are_averaged_or_copied(use_buffers, mean):
    model = make_model()
    average = ExponentialMovingAverage(model, decay=0.5, use_buffers=use_buffers)

    train(model, average, [1.0, 2.0])

    assert average.module[1].running_mean.item() == mean


@pytest.mark.parametrize("use_buffers", [True, False])
def test_parameters_of_several_types_are_averaged_as_torch_does_it(use_buffers):
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2).half(), torch.nn.BatchNorm1d(2).double())
    average = ExponentialMovingAverage(model, decay=0.9, use_buffers=use_buffers)
    expected = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=use_buffers)

    def step(engine, batch):
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.add_(torch.randn(tensor.shape).to(tensor.dtype) + batch)
        expected.update_parameters(model)

    engine = Engine(step)
    average.attach(engine)
    engine.run([1, 2, 3, 4])

    torch.testing.assert_close(average.state_dict(), dict(expected.state_dict()), rtol=0, atol=0)


def test_a_block_sees_the_average_and_leaves_the_own_weights_bit_by_bit():
    model = make_model()
    average = ExponentialMovingAverage(model, decay=0.5)
    train(model, average, [1.0, 2.0])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    addresses = [tensor.data_ptr() for tensor in model.state_dict().values()]

    with average.in_use():
        assert weight(model) == 1.5
        assert model[1].running_mean.item() == 1.5
        assert weight(average.module) == 1.5

    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert addresses == [tensor.data_ptr() for tensor in model.state_dict().values()]
    assert weight(average.module) == 1.5


def test_before_the_first_update_the_weights_are_the_models_own():
    model = make_model(1.0)
    average = ExponentialMovingAverage(model)
    set_weight(model, 5.0)

    with average.in_use():
        assert weight(model) == 5.0


def make_evaluation():
    model = make_model()
    average = ExponentialMovingAverage(model, decay=0.5)
    train(model, average, [1.0, 2.0])
    evaluator = Engine(lambda engine, batch: weight(model))
    average.attach_to_evaluator(evaluator)
    return model, evaluator


def test_an_evaluator_sees_the_average():
    model, evaluator = make_evaluation()

    assert evaluator.run([0]).output == 1.5
    assert weight(model) == 2.0
    assert evaluator.run([0]).output == 1.5


def fail():
    raise ValueError("of the test")


@pytest.mark.parametrize(
    "stop",
    [lambda engine: engine.terminate(), lambda engine: engine.terminate(skip_completed=True), lambda engine: fail()],
    ids=["terminate", "skip_completed", "error"],
)
def test_the_own_weights_are_back_however_the_evaluation_ends(stop):
    model, evaluator = make_evaluation()
    evaluator.add_event_handler(Events.ITERATION_COMPLETED(once=2), stop)
    expected = pytest.raises(ValueError, match="of the test") if "fail" in stop.__code__.co_names else None

    if expected is None:
        evaluator.run([0, 0, 0])
    else:
        with expected:
            evaluator.run([0, 0, 0])

    assert weight(model) == 2.0


def test_an_interrupted_evaluation_continues_with_the_average():
    model, evaluator = make_evaluation()
    evaluator.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda engine: engine.interrupt())

    evaluator.run([0, 0])
    assert weight(model) == 2.0
    evaluator.run([0, 0])

    assert evaluator.state.output == 1.5
    assert weight(model) == 2.0


def test_a_restored_average_continues():
    values = [1.0, 5.0, 2.0, 7.0]
    straight = make_model()
    straight_average = ExponentialMovingAverage(straight, decay=0.9)
    train(straight, straight_average, values)
    for stop in range(4):
        model = make_model()
        average = ExponentialMovingAverage(model, decay=0.9)
        train(model, average, values[:stop] or [1.0]) if stop else None
        restored_model = make_model(-1.0)
        restored = ExponentialMovingAverage(restored_model, decay=0.9)
        restored.load_state_dict(average.state_dict())
        train(restored_model, restored, values[stop:])
        assert weight(restored.module) == weight(straight_average.module)


def test_a_compiled_or_wrapped_model_is_averaged_itself():
    model = make_model(3.0)
    average = ExponentialMovingAverage(torch.nn.DataParallel(model), decay=0.5)
    average()

    assert list(average.state_dict()) == [
        "n_averaged", *(f"module.{name}" for name in model.state_dict())
    ]  # fmt: skip
    assert weight(average.module) == 3.0


def test_the_average_needs_no_gradients():
    average = ExponentialMovingAverage(make_model())

    assert not any(parameter.requires_grad for parameter in average.module.parameters())


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_a_wrong_decay_is_refused(decay):
    with pytest.raises(ArgumentError, match="`decay` must be from 0 to 1"):
        ExponentialMovingAverage(make_model(), decay)


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing():
    model = make_model()
    average = ExponentialMovingAverage(model, decay=0.5)
    train(model, average, [1.0, 2.0])
    before = {name: value.clone() for name, value in average.state_dict().items()}
    good = average.state_dict()

    for bad in (
        None,
        {},
        model.state_dict(),
        {name: value for name, value in good.items() if name != "n_averaged"},
        good | {"module.0.weight": torch.zeros(2, 1), "module.1.running_mean": torch.full((1,), 9.0)},
        good | {"n_averaged": 3},
    ):
        with pytest.raises(StateDictError):
            average.load_state_dict(bad)

    assert all(torch.equal(value, before[name]) for name, value in average.state_dict().items())
