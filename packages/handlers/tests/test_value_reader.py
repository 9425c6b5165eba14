from __future__ import annotations

import pytest

from camshaft.engine import ArgumentTypeError, Engine
from camshaft.handlers._value_reader import ValueReader, named_numbers


def after_run(output, **metrics):
    engine = Engine(lambda engine, batch: output)
    engine.run([0])
    engine.state.metrics.update(metrics)
    return engine


def test_outputs_metrics_and_other_values_are_read_together():
    engine = after_run(0.5, accuracy=0.75, recall=0.25)
    reader = ValueReader(["accuracy"], lambda loss: {"loss": loss}, lambda engine: {"epoch": engine.state.epoch})

    assert reader.read(engine) == {"loss": 0.5, "accuracy": 0.75, "epoch": 1.0}


def test_nothing_chosen_reads_nothing():
    assert ValueReader().read(after_run(0.5, accuracy=1.0)) == {}


def test_all_metrics_are_those_that_are_single_numbers():
    assert ValueReader("all").read(after_run(None, a=1, b=[1], c="x", d=None, e=2.5)) == {"a": 1.0, "e": 2.5}


def test_metrics_are_read_as_soon_as_they_are_there():
    assert ValueReader(iter(["later", "now"])).read(after_run(None, now=1)) == {"now": 1.0}


def test_a_lone_name_is_refused_before_it_is_taken_for_its_letters():
    with pytest.raises(ArgumentTypeError, match="`metric_names` must be 'all' or several names, got 'accuracy'"):
        ValueReader("accuracy")


def test_no_output_is_read_before_there_is_one():
    assert ValueReader(None, lambda output: 1 / output).read(Engine(lambda engine, batch: batch)) == {}


def test_outputs_stay_tensors_until_they_are_shown():
    torch = pytest.importorskip("torch")
    reader, engine = ValueReader(None, lambda loss: loss), after_run(torch.tensor([1.5]))

    assert isinstance(reader.read_output(engine)["output"], torch.Tensor)
    assert reader.read(engine) == {"output": 1.5}


def test_a_single_number_is_called_output():
    assert named_numbers(1.5, "values") == {"output": 1.5}
    assert named_numbers({"a": 1, "b": 2.5}, "values") == {"a": 1, "b": 2.5}


@pytest.mark.parametrize("value", [None, "high", [1.0], (1.0, 2.0)])
@pytest.mark.parametrize("argument", ["output_transform", "values"])
def test_what_is_no_single_number_is_refused(value, argument):
    with pytest.raises(ArgumentTypeError, match=rf"`{argument}` must return single numbers, got .* for 'loss'"):
        named_numbers({"loss": value}, argument)


def test_a_tensor_of_several_numbers_is_refused_by_its_shape():
    torch = pytest.importorskip("torch")

    with pytest.raises(ArgumentTypeError, match=r"got a tensor of shape \(2, 3\) for 'output'"):
        named_numbers(torch.ones(2, 3), "output_transform")
