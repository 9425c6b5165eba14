import copy
from collections import OrderedDict

import pytest
import torch

from ignite.metrics import Accuracy, Average, EpochMetric, Loss, MetricGroup, Precision, RunningAverage

OUTPUT = (torch.tensor([1, 0, 1]), torch.tensor([1, 1, 1]))
# As pytorch-ignite 0.5.5 writes it.
ACCURACY_OF_THE_REFERENCE = OrderedDict(
    [("__metric_state_per_rank", [OrderedDict([("_num_correct", torch.tensor(2)), ("_num_examples", 3)])])]
)


def test_a_state_of_the_reference_loads():
    accuracy = Accuracy()
    accuracy.load_state_dict(ACCURACY_OF_THE_REFERENCE)
    assert 2 / 3 == accuracy.compute()


def test_a_state_is_what_the_reference_writes():
    accuracy = Accuracy()
    accuracy.update(OUTPUT)
    assert str(ACCURACY_OF_THE_REFERENCE) == str(accuracy.state_dict())


METRICS = {
    "accuracy": Accuracy,
    "precision": Precision,
    "weighted precision": lambda: Precision(average="weighted"),
    "loss": lambda: Loss(torch.nn.functional.l1_loss, output_transform=lambda output: output),
    "group": lambda: MetricGroup({"accuracy": Accuracy(), "precision": Precision()}),
    "expression": lambda: 1 - Accuracy() * Precision(),
    "epoch metric": lambda: EpochMetric(lambda predictions, targets: (predictions != targets).sum().item()),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_goes_on_from_its_state(name):
    make = METRICS[name]
    output = tuple(each.float() for each in OUTPUT) if name == "loss" else OUTPUT
    undisturbed, first, second = make(), make(), make()
    undisturbed.update(output)
    first.update(output)
    second.load_state_dict(first.state_dict())
    undisturbed.update(output)
    second.update(output)
    assert str(undisturbed.compute()) == str(second.compute())


def test_a_running_average_goes_on_from_its_state():
    first, second = (RunningAverage(output_transform=lambda output: output, alpha=0.5) for _ in range(2))
    first.update(1.0)
    second.load_state_dict(first.state_dict())
    second.update(3.0)
    assert 2.0 == second.compute()


def test_loading_keeps_the_metrics_inside():
    accuracy = Accuracy()
    group = MetricGroup({"accuracy": accuracy})
    group.update(OUTPUT)
    state = group.state_dict()
    group.reset()
    group.load_state_dict(state)
    assert accuracy is group.metrics["accuracy"]
    assert 2 / 3 == accuracy.compute()


@pytest.mark.parametrize("state", [1, None, []])
def test_what_is_no_mapping_is_refused(state):
    with pytest.raises(TypeError, match="state_dict"):
        Accuracy().load_state_dict(state)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"_num_correct": 1, "_num_examples": 2},
        {"__metric_state_per_rank": []},
        {"__metric_state_per_rank": {}},
        {"__metric_state_per_rank": [{"_num_correct": 1}]},
        {"__metric_state_per_rank": [3]},
        {"__metric_state_per_rank": [{"_num_correct": 1, "_num_examples": 2}] * 2},
    ],
)
def test_a_state_of_something_else_is_refused_and_changes_nothing(state):
    accuracy = Accuracy()
    accuracy.update(OUTPUT)
    with pytest.raises(ValueError, match="state"):
        accuracy.load_state_dict(state)
    assert 2 / 3 == accuracy.compute()


def test_a_loaded_metric_leaves_the_state_as_it_was():
    average = Average()
    average.update(1.0)
    state = average.state_dict()
    average.load_state_dict(state)
    average.update(3.0)
    assert 1 == state["__metric_state_per_rank"][0]["num_examples"]


def test_updates_leave_a_state_taken_before_as_it_was():
    accuracy = Accuracy()
    accuracy.update(OUTPUT)
    state = accuracy.state_dict()
    accuracy.update(OUTPUT)
    assert str(ACCURACY_OF_THE_REFERENCE) == str(state)


def test_updates_after_loading_leave_the_state_as_it_was():
    accuracy, state = Accuracy(), copy.deepcopy(ACCURACY_OF_THE_REFERENCE)
    accuracy.load_state_dict(state)
    accuracy.update(OUTPUT)
    assert str(ACCURACY_OF_THE_REFERENCE) == str(state)
