import pickle

import pytest
import torch

from ignite.engine import Engine
from ignite.metrics import Accuracy, Average, ConfusionMatrix, Metric, MetricsLambda, Precision, Recall

SCORES = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]])
CLASSES = torch.tensor([1, 0, 0])


class Fixed(Metric):
    """Has a result from the start; counts its updates."""

    def __init__(self, result):
        self.result = result
        super().__init__()

    def reset(self):
        self.updates = 0

    def update(self, output):
        self.updates += 1

    def compute(self):
        return self.result


def echo():
    return Engine(lambda engine, batch: batch)


def value(metric):
    result = metric.compute()
    return result.tolist() if isinstance(result, torch.Tensor) else result


A, B = Fixed(7.0), Fixed(torch.tensor([1.0, 4.0]))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (A + 1, 8.0), (1 + A, 8.0), (A - 1, 6.0), (1 - A, -6.0), (A * 2, 14.0), (2 * A, 14.0), (A / 2, 3.5),
        (14 / A, 2.0),
        (A // 2, 3.0), (A % 4, 3.0), (A**2, 49.0), (2**A, 128.0), (A + B, [8.0, 11.0]), (B[1], 4.0), (B[0:1], [1.0]),
        (B.sum(), 5.0), (B.mean().item(), 2.5), ((A + B)[0] * 2, 16.0), (B.clamp(max=2.0), [1.0, 2.0]),
    ],
)  # fmt: skip
def test_expressions_of_metrics_are_metrics(metric, expected):
    assert isinstance(metric, MetricsLambda)
    assert expected == value(metric)


def test_other_arguments_reach_the_function_as_they_are():
    metric = MetricsLambda(lambda first, second, scale, offset=0: first * scale + second + offset, A, 1.0, 2, offset=A)
    assert 22.0 == metric.compute()


def test_an_expression_updates_each_metric_once():
    source = Fixed(1.0)
    (source + source * source).update("output")
    assert 1 == source.updates


def test_an_expression_resets_its_metrics():
    source = Fixed(1.0)
    metric = source + 1
    source.update("output")
    metric.reset()
    assert 0 == source.updates


def test_an_attached_expression_attaches_its_metrics_without_results_of_their_own():
    precision, recall, engine = Precision(average=False), Recall(average=False), echo()
    f1 = (2 * precision * recall / (precision + recall)).mean()
    f1.attach(engine, "f1")
    assert {"f1": pytest.approx(2 / 3)} == engine.run([(SCORES, CLASSES)]).metrics
    assert [True, False] == [each.is_attached(engine) for each in (f1, precision)]


def test_an_expression_and_its_metric_may_both_be_attached():
    accuracy, engine = Accuracy(), echo()
    (1 - accuracy).attach(engine, "error")
    accuracy.attach(engine, "accuracy")
    found = engine.run([(SCORES, CLASSES)] * 2).metrics
    assert {"accuracy": pytest.approx(2 / 3), "error": pytest.approx(1 / 3)} == found


def test_an_expression_of_a_detached_metric_is_not_attached():
    accuracy, engine = Accuracy(), echo()
    error = 1 - accuracy
    error.attach(engine, "error")
    accuracy.detach(engine)
    assert not error.is_attached(engine)


def test_a_detached_expression_writes_no_result():
    error, engine = 1 - Accuracy(), echo()
    error.attach(engine, "error")
    error.detach(engine)
    assert (False, {}) == (error.is_attached(engine), engine.run([(SCORES, CLASSES)]).metrics)


def test_an_expression_takes_a_usage():
    mean, engine = Average(), echo()
    (mean * 10).attach(engine, "tens", usage="batch_wise")
    assert 30.0 == engine.run([1.0, 3.0]).metrics["tens"]


def test_an_attached_expression_is_not_updated_by_hand():
    error = 1 - Accuracy()
    error.attach(echo(), "error")
    with pytest.raises(ValueError, match="must not be called while"):
        error.update((SCORES, CLASSES))


def test_an_expression_updated_by_hand_is_not_attached():
    error = 1 - Accuracy()
    error.update((SCORES, CLASSES))
    with pytest.raises(ValueError, match="reset it first"):
        error.attach(echo(), "error")


def test_methods_of_results_survive_pickling():
    metric = pickle.loads(pickle.dumps(ConfusionMatrix(2, output_transform=tuple).sum()))
    metric.update((SCORES, CLASSES))
    assert 3 == int(metric.compute())
