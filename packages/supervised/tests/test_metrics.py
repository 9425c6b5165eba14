from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchmetrics
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import BinaryAUROC, MulticlassAccuracy, MulticlassPrecision, MulticlassRecall

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning, Events, StateDictError
from camshaft.supervised import attach_mean_loss, attach_metrics, create_supervised_evaluator, create_supervised_trainer


def make_data(count: int = 6) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(5, 3, generator=generator), torch.randint(3, (5,), generator=generator)) for _ in range(count)]


def echo() -> Engine:
    return Engine(lambda engine, batch: batch)


def accuracy() -> MulticlassAccuracy:
    return MulticlassAccuracy(3, average="micro")


class Count:
    """A metric of one's own, without a state to save."""

    def reset(self):
        self.value = 0

    def update(self, y_pred, y):
        self.value += len(y)

    def compute(self):
        return self.value


def test_the_result_is_there_as_a_plain_number_when_the_epoch_ends():
    data = make_data()
    evaluator = create_supervised_evaluator(torch.nn.Identity(), {"accuracy": accuracy(), "count": Count()})

    metrics = evaluator.run(data).metrics

    hits = sum(int((x.argmax(1) == y).sum()) for x, y in data)
    assert metrics == {"accuracy": pytest.approx(hits / 30), "count": 30}
    assert type(metrics["accuracy"]) is float


def test_each_run_and_each_epoch_starts_again():
    engine, seen = echo(), []
    attach_metrics(engine, {"mean": MeanMetric()})
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: seen.append(engine.state.metrics["mean"]))

    engine.run([1.0, 3.0, 5.0, 7.0], max_epochs=2, epoch_length=2)
    engine.run([2.0])

    assert seen == [2.0, 6.0, 2.0]


def test_a_collection_is_there_as_a_whole_and_entry_by_entry():
    collection = MetricCollection([MulticlassPrecision(3), MulticlassRecall(3)], prefix="val_")
    evaluator = create_supervised_evaluator(torch.nn.Identity(), {"scores": collection})

    metrics = evaluator.run(make_data()).metrics

    assert set(metrics) == {"scores", "val_MulticlassPrecision", "val_MulticlassRecall"}
    assert metrics["scores"]["val_MulticlassRecall"] == metrics["val_MulticlassRecall"]
    assert type(metrics["val_MulticlassRecall"]) is float


def test_numbers_in_mappings_inside_a_result_are_plain_too():
    class Nested(Count):
        def compute(self):
            return {"by class": {"cat": torch.tensor(0.5), "dog": np.float32(0.25)}}

    engine = echo()
    attach_metrics(engine, {"nested": Nested()})

    by_class = engine.run(make_data()).metrics["by class"]

    assert by_class == {"cat": 0.5, "dog": 0.25}
    assert {type(value) for value in by_class.values()} == {float}


def test_a_result_of_several_numbers_stays_a_tensor():
    evaluator = create_supervised_evaluator(torch.nn.Identity(), {"recall": MulticlassRecall(3, average=None)})

    assert evaluator.run(make_data()).metrics["recall"].shape == (3,)


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (lambda output: output[0], 4.0),
        (lambda output: (output[0], output[1]), 4.5),
    ],
)
def test_a_transform_makes_the_arguments_of_update(transform, expected):
    engine = echo()
    attach_metrics(engine, {"mean": MeanMetric()}, output_transform=transform)

    assert engine.run([(3.0, 1.0), (5.0, 3.0)]).metrics == {"mean": expected}


def test_a_metric_whose_update_takes_one_argument_gets_the_tuple():
    class Pairs:
        def reset(self):
            self.pairs = []

        def update(self, output):
            self.pairs.append(output)

        def compute(self):
            return self.pairs

    engine = echo()
    attach_metrics(engine, {"pairs": Pairs()})

    assert engine.run([(1, 2), (3, 4)]).metrics == {"pairs": [(1, 2), (3, 4)]}


def test_measuring_records_no_gradients():
    engine = Engine(lambda engine, batch: torch.ones(1, requires_grad=True) * batch)
    metric = MeanMetric()
    attach_metrics(engine, {"mean": metric}, output_transform=lambda output: 2 * output)

    engine.run([1.0, 2.0])

    assert not metric.mean_value.requires_grad


@pytest.mark.parametrize("metrics", [[accuracy()], accuracy(), 3])
def test_metrics_without_names_are_refused(metrics):
    with pytest.raises(ArgumentTypeError, match="`metrics` must be a mapping of names to metrics, got "):
        create_supervised_evaluator(torch.nn.Identity(), metrics)


def test_what_is_no_metric_is_refused_by_its_name():
    with pytest.raises(ArgumentTypeError, match=r"`metrics\['loss'\]` must have update, compute and reset, got "):
        create_supervised_evaluator(torch.nn.Identity(), {"loss": torch.nn.functional.mse_loss})


def test_a_name_that_is_no_string_is_refused():
    with pytest.raises(ArgumentTypeError, match="`metrics` must have strings as names, got 1"):
        attach_metrics(echo(), {1: Count()})


def test_results_that_would_share_a_name_are_refused_and_nothing_is_attached():
    engine = echo()
    attach_metrics(engine, {"MulticlassRecall": MulticlassRecall(3)})

    with pytest.raises(
        ArgumentError, match=r"`metrics` must have names of their own, got \['MulticlassRecall'\] twice"
    ):
        attach_metrics(engine, {"a": accuracy(), "scores": MetricCollection([MulticlassRecall(3)])})

    assert set(engine.stateful) == {"metric:MulticlassRecall"}


# ---- the mean loss ---------------------------------------------------------------------------------


def uneven_data() -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return batches of five, five and one sample."""
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(n, 1, generator=generator), torch.randn(n, 1, generator=generator)) for n in (5, 5, 1)]


def mean_over_samples(data) -> float:
    x, y = (torch.cat(parts) for parts in zip(*data, strict=True))
    return torch.nn.functional.mse_loss(x, y).item()


def test_the_mean_loss_of_an_evaluator_is_that_over_all_samples():
    data, evaluator = uneven_data(), create_supervised_evaluator(torch.nn.Identity())
    attach_mean_loss(evaluator, torch.nn.functional.mse_loss)

    assert evaluator.run(data).metrics == {"loss": pytest.approx(mean_over_samples(data))}


def test_the_mean_loss_of_a_trainer_is_that_over_all_samples():
    data, model = uneven_data(), torch.nn.Linear(1, 1)
    torch.nn.init.ones_(model.weight)
    torch.nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    trainer = create_supervised_trainer(model, optimizer, torch.nn.functional.mse_loss)
    attach_mean_loss(trainer, name="mean loss")

    assert trainer.run(data).metrics == {"mean loss": pytest.approx(mean_over_samples(data))}


def test_the_size_of_a_batch_can_be_given():
    engine = Engine(lambda engine, batch: batch["loss"])
    attach_mean_loss(engine, batch_size=lambda batch: len(batch["names"]))

    metrics = engine.run([{"loss": 1.0, "names": ["a", "b", "c"]}, {"loss": 5.0, "names": ["d"]}]).metrics

    assert metrics == {"loss": 2.0}


def test_a_batch_without_a_size_is_refused():
    engine = Engine(lambda engine, batch: 1.0)
    attach_mean_loss(engine)

    with pytest.raises(ArgumentError, match="must hold a tensor of shape .*; pass a `batch_size` of your own"):
        engine.run([["a", "b"]])


def test_a_mean_loss_continued_elsewhere_is_the_same():
    data = uneven_data()

    def make():
        evaluator = create_supervised_evaluator(torch.nn.Identity())
        attach_mean_loss(evaluator, torch.nn.functional.mse_loss)
        return evaluator

    expected, stopped = make().run(data).metrics, make()
    stopped.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda engine: engine.terminate())
    stopped.run(data, max_epochs=2)
    continued = make()
    continued.load_state_dict(through_a_file(stopped.state_dict()))
    continued.run(data, max_epochs=2)

    assert continued.state.metrics == expected


def test_a_mean_loss_needs_a_name_of_its_own():
    engine = echo()
    attach_mean_loss(engine)

    with pytest.raises(ArgumentError, match=r"`metrics` must have names of their own, got \['loss'\] twice"):
        attach_mean_loss(engine)


WITHOUT_TORCHMETRICS = """
import sys
sys.modules["torchmetrics"] = None
from camshaft.engine import Engine
from camshaft.supervised import attach_mean_loss
try:
    attach_mean_loss(Engine(lambda engine, batch: batch))
except ModuleNotFoundError as error:
    print(type(error).__name__, error)
"""


def test_a_mean_loss_without_torchmetrics_names_the_extra():
    command = [sys.executable, "-c", WITHOUT_TORCHMETRICS]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert printed == (
        "BackendMissingError `attach_mean_loss` needs torchmetrics, which is not installed; "
        "see the extra camshaft-supervised[metrics]\n"
    )


# ---- of pytorch-ignite -----------------------------------------------------------------------------


def make_metric_of_a_package_called_ignite() -> object:
    return type("Accuracy", (Count,), {"__module__": "ignite.metrics.accuracy"})()


def test_a_metric_of_pytorch_ignite_is_refused_by_name(monkeypatch):
    monkeypatch.delitem(sys.modules, "ignite.engine", raising=False)  # other tests may have imported one
    with pytest.raises(
        ArgumentTypeError, match=r"`metrics\['a'\]` must not be a metric of pytorch-ignite, got Accuracy"
    ):
        attach_metrics(echo(), {"a": make_metric_of_a_package_called_ignite()})


def test_a_metric_of_a_package_that_stands_in_for_pytorch_ignite_is_a_metric(monkeypatch):
    stand_in = type(sys)("ignite.engine")
    stand_in.Engine = Engine
    monkeypatch.setitem(sys.modules, "ignite.engine", stand_in)
    engine = echo()
    attach_metrics(engine, {"a": make_metric_of_a_package_called_ignite()})

    assert engine.run(make_data()).metrics == {"a": 30}


# ---- saved and restored ----------------------------------------------------------------------------


def measured(metrics) -> Engine:
    engine = echo()
    attach_metrics(engine, metrics)
    return engine


def through_a_file(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


MAKERS = {
    "one": lambda: {"accuracy": accuracy()},
    "list state": lambda: {"auroc": BinaryAUROC()},
    "collection": lambda: {"scores": MetricCollection([MulticlassPrecision(3), MulticlassRecall(3)])},
    "wrapped": lambda: {"recall": torchmetrics.ClasswiseWrapper(MulticlassRecall(3, average=None))},
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("stop", [1, 4, 6])
def test_an_epoch_continued_elsewhere_ends_with_the_same_result(kind, stop):
    data = make_data()
    if kind == "list state":
        data = [(x[:, 0].sigmoid(), y % 2) for x, y in data]
    expected = measured(MAKERS[kind]()).run(data, max_epochs=2).metrics
    stopped = measured(MAKERS[kind]())
    stopped.add_event_handler(Events.ITERATION_COMPLETED(once=6 + stop), lambda engine: engine.terminate())
    stopped.run(data, max_epochs=2)

    continued = measured(MAKERS[kind]())
    continued.load_state_dict(through_a_file(stopped.state_dict()))
    continued.run(data)

    assert continued.state.metrics == expected


def test_a_collection_in_use_takes_up_a_saved_state():
    data = make_data()
    engine = measured(MAKERS["collection"]())
    expected = engine.run(data).metrics["scores"]
    state = through_a_file(engine.state_dict())
    engine.run(make_data(2)[::-1])

    engine.load_state_dict(state)
    engine.stateful["metric:scores"].compute(engine)

    assert engine.state.metrics["scores"] == expected


def test_metrics_belong_to_the_engines_state_only_if_they_have_one():
    engine = measured({"accuracy": accuracy(), "count": Count()})

    assert set(engine.state_dict()["stateful"]) == {"metric:accuracy"}


def test_a_metric_without_a_state_starts_again_in_a_restored_epoch_and_says_so():
    data, stopped = make_data(), measured({"count": Count()})
    stopped.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda engine: engine.terminate())
    stopped.run(data)

    restored = measured({"count": Count()})
    restored.load_state_dict(stopped.state_dict())
    with pytest.warns(EngineWarning, match="the metric 'count' has no saved state .* leaves out the first 4 iter"):
        restored.run(data)

    assert restored.state.metrics == {"count": 2 * 5}


def test_a_metric_without_a_state_continues_where_it_was_in_the_same_process():
    data, engine = make_data(), measured({"count": Count()})
    with engine.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda engine: engine.terminate()):
        engine.run(data)

    engine.run(data)

    assert engine.state.metrics == {"count": 6 * 5}


def test_an_evaluation_restored_in_its_middle_ends_alike_and_puts_the_modes_back():
    data, saved = make_data(), []

    def make():
        model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Dropout())
        return model, create_supervised_evaluator(model, MAKERS["collection"]() | MAKERS["wrapped"]())

    _, whole = make()
    whole.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda engine: engine.at_safe_point(lambda: saved.append(through_a_file(engine.state_dict()))),
    )
    expected = whole.run(data).metrics

    for state in saved:
        model, evaluator = make()
        evaluator.load_state_dict(state)
        assert evaluator.run(data).metrics == expected
        assert all(module.training for module in model.modules())


def test_a_state_that_does_not_fit_changes_nothing():
    metric = accuracy()
    engine = measured({"accuracy": metric})
    engine.run(make_data())
    before = engine.stateful["metric:accuracy"].state_dict()
    good = before["metric"]
    first = next(iter(good))

    for bad in (
        None,
        {"metric": good},
        {"updated": True, "metric": None},
        {"updated": True, "metric": {key: value for key, value in good.items() if key != first}},
        {"updated": True, "metric": good | {"other": torch.zeros(1)}},
        {"updated": True, "metric": good | {first: [1]}},
    ):
        with pytest.raises(StateDictError, match="accuracy"):
            engine.stateful["metric:accuracy"].load_state_dict(bad)

    after = engine.stateful["metric:accuracy"].state_dict()["metric"]
    assert all(torch.equal(value, after[key]) for key, value in good.items())
