import copy
import pickle

import pytest
import torch

from ignite.engine import Engine, Events, State
from ignite.exceptions import NotComputableError
from ignite.metrics import (
    Accuracy,
    Average,
    BatchFiltered,
    BatchWise,
    EpochWise,
    Loss,
    Metric,
    MetricUsage,
    RunningBatchWise,
    RunningEpochWise,
    SingleEpochRunningBatchWise,
)


class Recorder(Metric):
    """Records what it takes in; its result is what the test says."""

    def __init__(self, result=0.0, **kwargs):
        self.resets = 0
        self.result = result
        super().__init__(**kwargs)

    def reset(self):
        self.resets += 1
        self.taken = []

    def update(self, output):
        self.taken.append(output)

    def compute(self):
        return self.result


def echo():
    return Engine(lambda engine, batch: batch)


def taken_of(output, **kwargs):
    metric, engine = Recorder(**kwargs), echo()
    engine.state = State(output=output)
    metric.iteration_completed(engine)
    return metric.taken


def result_of(value, **kwargs):
    engine = echo()
    Recorder(value, **kwargs).completed(engine, "name")
    return engine.state.metrics


# ---------------------------------------------------------------------- what is taken in


@pytest.mark.parametrize("output", [(1, 2), [1, 2], "ab", None, ([None], [1]), ([(1, 2)], [1])])
def test_an_output_is_taken_in_as_it_is(output):
    assert [output] == taken_of(output)


@pytest.mark.parametrize("output", [([1, 2], [3, 4]), [[1, 2], [3, 4]], ((1, 2), (3, 4))])
def test_lists_of_numbers_are_taken_in_one_by_one(output):
    assert [(1, 3), (2, 4)] == [(int(first), int(second)) for first, second in taken_of(output)]


def test_a_sample_of_a_list_becomes_a_batch_of_one():
    ((prediction, target),) = taken_of(([torch.tensor([1.0, 2.0])], [3]))
    assert ([[1.0, 2.0]], [3]) == (prediction.tolist(), target.tolist())


def test_lists_are_taken_in_whole_without_unrolling():
    assert [([1, 2], [3, 4])] == taken_of(([1, 2], [3, 4]), skip_unrolling=True)


@pytest.mark.parametrize("output", [([1, 2], [3]), ([1, 2], [3, 4], [5, 6])])
def test_lists_of_different_lengths_are_refused(output):
    with pytest.raises(ValueError, match="two lists of one length"):
        taken_of(output)


def test_a_mapping_is_taken_in_by_the_required_keys():
    assert [(1, 2)] == taken_of({"y": 2, "y_pred": 1, "x": 3})


def test_a_metric_may_require_other_keys():
    class Three(Recorder):
        required_output_keys = ("y_pred", "y", "x")

    metric, engine = Three(), echo()
    engine.state = State(output={"x": 3, "y": 2, "y_pred": 1})
    metric.iteration_completed(engine)
    assert [(1, 2, 3)] == metric.taken


def test_a_mapping_without_a_required_key_is_refused():
    with pytest.raises(ValueError, match="y_pred"):
        taken_of({"y": 2})


def test_a_metric_without_required_keys_refuses_mappings():
    engine = echo()
    Average().attach(engine, "mean")
    with pytest.raises(TypeError, match="must not be a mapping"):
        engine.run([{"loss": 1.0}])


def test_an_output_transform_comes_first():
    assert [(2, 4)] == taken_of({"a": 2, "b": 4}, output_transform=lambda output: (output["a"], output["b"]))


def test_updates_of_an_engine_make_no_graph():
    class Enabled(Recorder):
        def update(self, output):
            self.taken.append(torch.is_grad_enabled())

    metric, engine = Enabled(), echo()
    metric.attach(engine, "enabled")
    engine.run([1])
    assert [False] == metric.taken


# ---------------------------------------------------------------------- what goes into the state


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (torch.tensor(1.5), 1.5),
        (torch.tensor(3), 3),
        (torch.tensor(True), True),
        (2.0, 2.0),
        ("text", "text"),
        (None, None),
    ],
)
def test_a_single_value_becomes_a_plain_one(value, expected):
    found = result_of(value)["name"]
    assert (expected, type(expected)) == (found, type(found))


def test_a_tensor_with_dimensions_stays_a_tensor():
    assert [1.0] == result_of(torch.tensor([1.0]))["name"].tolist()


def test_a_mapping_goes_in_whole_and_by_its_entries():
    assert {"a": 1, "b": 2, "name": {"a": 1, "b": 2}} == result_of({"a": 1, "b": 2})


@pytest.mark.parametrize(("mode", "expected"), [("flatten", {"a": 1}), ("named", {"name": {"a": 1}})])
def test_a_result_mode_says_where_a_mapping_goes(mode, expected):
    assert expected == result_of({"a": 1}, metrics_result_mode=mode)


def test_an_unknown_result_mode_is_refused():
    with pytest.raises(ValueError, match="metrics_result_mode"):
        Recorder(metrics_result_mode="whole")


def test_a_mapping_with_the_metrics_own_name_is_refused():
    with pytest.raises(ValueError, match="must not be a key"):
        result_of({"name": 1})


def test_what_cannot_be_computed_ends_the_run():
    engine = echo()
    Accuracy(output_transform=lambda output: (output[0][:0], output[1][:0])).attach(engine, "accuracy")
    with pytest.raises(NotComputableError):
        engine.run([(torch.tensor([1]), torch.tensor([1]))])


# ---------------------------------------------------------------------- usages

NAMES = {
    "epoch_wise": EpochWise,
    "running_epoch_wise": RunningEpochWise,
    "batch_wise": BatchWise,
    "running_batch_wise": RunningBatchWise,
    "single_epoch_running_batch_wise": SingleEpochRunningBatchWise,
}
HISTORY = {
    "epoch_wise": [None, None, (1, 2.0), (1, 2.0), (1, 2.0), (2, 6.0)],
    "running_epoch_wise": [None, None, (1, 3.0), (1, 3.0), (1, 3.0), (2, 5.0)],
    "batch_wise": [1.0, 3.0, (1, 3.0), 5.0, 7.0, (2, 7.0)],
    "running_batch_wise": [1.0, 2.0, (1, 2.0), 3.0, 4.0, (2, 4.0)],
    "single_epoch_running_batch_wise": [1.0, 2.0, (1, 2.0), 5.0, 6.0, (2, 6.0)],
}


def history(usage):
    """Return what the state has after each iteration and each epoch of 1, 3 and 5, 7."""
    batches = iter([1.0, 3.0, 5.0, 7.0])
    engine = Engine(lambda engine, batch: next(batches))
    Average().attach(engine, "mean", usage)
    seen = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(engine.state.metrics.get("mean")))
    engine.add_event_handler(
        Events.EPOCH_COMPLETED, lambda: seen.append((engine.state.epoch, engine.state.metrics.get("mean")))
    )
    engine.run([0, 0], max_epochs=2)
    return seen


def without_epochs(values):
    return [value[1] if isinstance(value, tuple) else value for value in values]


@pytest.mark.parametrize("name", NAMES)
def test_a_usage_says_when_results_are_written(name):
    assert without_epochs(HISTORY[name]) == without_epochs(history(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_usage_goes_by_its_name_or_its_class(name):
    assert history(name) == history(NAMES[name]())
    assert name == NAMES[name].usage_name


def test_a_filtered_usage_takes_in_some_batches():
    engine = echo()
    Average().attach(engine, "mean", BatchFiltered(every=2))
    assert 3.0 == engine.run([1.0, 2.0, 3.0, 4.0]).metrics["mean"]


def test_a_usage_may_be_made_of_any_events():
    engine = echo()
    usage = MetricUsage(Events.STARTED, Events.COMPLETED, Events.ITERATION_COMPLETED(once=3))
    Average().attach(engine, "mean", usage)
    assert 3.0 == engine.run([1.0, 2.0, 3.0, 4.0]).metrics["mean"]


@pytest.mark.parametrize("usage", ["EpochWise", "batch_filtered", ""])
def test_an_unknown_usage_is_refused(usage):
    with pytest.raises(ValueError, match="usage"):
        Average().attach(echo(), "mean", usage)


@pytest.mark.parametrize("usage", [3, EpochWise, None])
def test_what_is_no_usage_is_refused(usage):
    with pytest.raises(TypeError, match="usage"):
        Average().attach(echo(), "mean", usage)


# ---------------------------------------------------------------------- attaching and detaching


def test_two_names_share_the_updates():
    engine, metric = echo(), Recorder(1.0)
    metric.attach(engine, "one")
    metric.attach(engine, "other")
    assert ({"one": 1.0, "other": 1.0}, 2) == (engine.run(["a", "b"]).metrics, len(metric.taken))


def test_a_metric_may_follow_several_engines():
    metric, first, second = Average(), echo(), echo()
    metric.attach(first, "mean")
    metric.attach(second, "mean")
    assert (1.0, 5.0) == (first.run([1.0]).metrics["mean"], second.run([5.0]).metrics["mean"])


@pytest.mark.parametrize("usage", NAMES)
def test_a_detached_metric_is_gone(usage):
    metric, engine = Recorder(), echo()
    metric.attach(engine, "one", usage)
    metric.attach(engine, "other", usage)
    assert metric.is_attached(engine, usage)
    metric.detach(engine, usage)
    assert not metric.is_attached(engine, usage)
    assert ({}, []) == (engine.run(["a"]).metrics, metric.taken)


def test_detaching_what_is_not_attached_does_nothing():
    metric, engine = Recorder(), echo()
    metric.detach(engine)
    assert not metric.is_attached(engine)


def test_a_metric_is_attached_with_one_usage():
    metric, engine = Recorder(), echo()
    metric.attach(engine, "name", "batch_wise")
    assert (True, False) == (metric.is_attached(engine, BatchWise()), metric.is_attached(engine))


def test_a_metric_may_be_reset_inside_an_epoch():
    engine, metric = echo(), Average()
    metric.attach(engine, "mean")
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), metric.reset)
    assert 3.5 == engine.run([1.0, 2.0, 3.0, 4.0]).metrics["mean"]


def test_a_metric_is_reset_when_it_is_made_and_when_an_epoch_starts():
    metric, engine = Recorder(), echo()
    metric.attach(engine, "name")
    engine.run(["a"], max_epochs=3)
    assert 4 == metric.resets


# ---------------------------------------------------------------------- the object itself


def test_a_metric_must_define_its_methods():
    with pytest.raises(TypeError, match="abstract"):
        Metric()


def test_an_xla_device_is_refused():
    with pytest.raises(ValueError, match="xla"):
        Accuracy(device="xla")


def test_what_a_metric_counts_is_on_its_device():
    assert "meta" == Loss(torch.nn.functional.mse_loss, device="meta")._sum.device.type


def test_a_metric_can_be_copied_and_pickled():
    metric = Loss(torch.nn.functional.mse_loss, output_transform=tuple)
    metric.update((torch.tensor([1.0]), torch.tensor([3.0])))
    assert [4.0, 4.0] == [each.compute() for each in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric)))]


def test_private_names_that_are_not_there_are_missing():
    assert not hasattr(Accuracy(), "_no_such_attribute")


def test_a_metric_is_not_iterable():
    with pytest.raises(TypeError, match="not iterable"):
        list(Accuracy())
