import pytest
import torch

from ignite.engine import Engine, Events
from ignite.metrics import Accuracy, RunningAverage

RIGHT, HALF, WRONG = ((torch.tensor([1, 0]), torch.tensor(target)) for target in ([1, 0], [1, 1], [0, 1]))


def history(make, usage, batches, **options):
    engine = Engine(lambda engine, batch: batch)
    average = RunningAverage(make() if make else None, **options)
    average.attach(engine, "average", *usage)
    seen = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(engine.state.metrics.get("average")))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: seen.append(engine.state.metrics.get("average")))
    engine.run(batches, max_epochs=2)
    return seen


def same(output):
    return output


OUTPUT = {"output_transform": same, "alpha": 0.5}
RUNNING = [1.0, 1.5, 2.75, 2.75, 1.875, 1.9375, 2.96875, 2.96875]
SINGLE = [1.0, 1.5, 2.75, 2.75, 1.0, 1.5, 2.75, 2.75]
EPOCHS = [None, None, None, 4.0, 4.0, 4.0, 4.0, 4.0]


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ((), RUNNING),
        (("running_batch_wise",), RUNNING),
        (("single_epoch_running_batch_wise",), SINGLE),
        (("running_epoch_wise",), EPOCHS),
    ],
)
def test_an_output_is_averaged(usage, expected):
    assert expected == history(None, usage, [1, 2, 4], **OUTPUT)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ((), [0.5, 0.75, 0.375, 0.375, 0.4375, 0.71875, 0.359375, 0.359375]),
        (("single_epoch_running_batch_wise",), [0.5, 0.75, 0.375, 0.375] * 2),
        (("running_epoch_wise",), [None, None, None, 0.5, 0.5, 0.5, 0.5, 0.5]),
    ],
)
def test_a_metric_is_averaged_batch_by_batch(usage, expected):
    assert expected == history(Accuracy, usage, [HALF, RIGHT, WRONG], alpha=0.5)


@pytest.mark.parametrize(("bound", "expected"), [(True, SINGLE), (False, RUNNING)])
@pytest.mark.parametrize("usage", [(), ("epoch_wise",)])
def test_a_bound_overrides_the_usage_with_a_warning(bound, expected, usage):
    with pytest.warns(UserWarning, match="epoch_bound"):
        found = history(None, usage, [1, 2, 4], epoch_bound=bound, **OUTPUT)
    assert expected == found


def test_tensors_are_averaged_without_their_graph():
    average = RunningAverage(output_transform=same, alpha=0.5)
    for value in (1.0, 3.0):
        average.update(torch.tensor([value], requires_grad=True))
    assert ([2.0], False) == (average.compute().tolist(), average.compute().requires_grad)


def test_a_later_change_of_the_output_changes_nothing():
    average, output = RunningAverage(output_transform=same), torch.tensor([1.0])
    average.update(output)
    output.add_(5.0)
    assert [1.0] == average.compute().tolist()


def test_there_is_no_average_before_the_first_value():
    assert RunningAverage(output_transform=same).compute() is None


def test_a_reset_forgets_the_average_and_the_metric():
    accuracy = Accuracy()
    average = RunningAverage(accuracy)
    accuracy.update(HALF)
    average.update(None)
    accuracy.update(HALF)
    average.reset()
    assert (None, 0) == (average.compute(), accuracy._num_examples)


def test_a_detached_average_leaves_no_handler():
    accuracy, engine = Accuracy(), Engine(lambda engine, batch: batch)
    average = RunningAverage(accuracy)
    average.attach(engine, "average")
    assert average.is_attached(engine)
    average.detach(engine)
    assert not average.is_attached(engine)
    assert ({}, 0) == (engine.run([HALF]).metrics, accuracy._num_examples)


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 1.5])
def test_an_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha"):
        RunningAverage(output_transform=same, alpha=alpha)


def test_a_source_must_be_a_metric():
    with pytest.raises(TypeError, match="src"):
        RunningAverage(12)


@pytest.mark.parametrize(
    "arguments", [{}, {"src": Accuracy(), "output_transform": same}, {"src": Accuracy(), "device": "cpu"}]
)
def test_a_source_and_a_transform_exclude_each_other(arguments):
    with pytest.raises(ValueError, match="`src`"):
        RunningAverage(**arguments)
