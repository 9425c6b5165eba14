from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, Events, RunningError, StateDictError
from camshaft.handlers import RunningAverage
from camshaft.handlers._running_average import ExponentialAverages


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0, 0.99))
def test_the_average_follows_the_values(values, decay):
    averages, expected = ExponentialAverages(decay), values[0]
    for value in values:
        averages.update({"loss": value})
    for value in values[1:]:
        expected = decay * expected + (1 - decay) * value

    assert averages.values()["loss"] == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_each_name_has_an_average_of_its_own():
    averages = ExponentialAverages(0.5)
    averages.update({"a": 1.0})
    averages.update({"a": 2.0, "b": 10})

    assert averages.values() == {"a": 1.5, "b": 10.0}


def test_a_reset_forgets():
    averages = ExponentialAverages(0.5)
    averages.update({"a": 1.0})
    averages.reset()
    averages.update({"a": 3.0})

    assert averages.values() == {"a": 3.0}


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64"])
@pytest.mark.parametrize("stop", [0, 1, 5])
def test_restored_averages_of_tensors_continue_bit_by_bit(dtype, stop):
    torch = pytest.importorskip("torch")
    values = (torch.rand(10, generator=torch.Generator().manual_seed(0)) * 10).to(getattr(torch, dtype))
    straight, first, second = ExponentialAverages(0.9), ExponentialAverages(0.9), ExponentialAverages(0.9)
    for value in values:
        straight.update({"loss": value})

    for value in values[:stop]:
        first.update({"loss": value})
    second.load(json.loads(json.dumps(first.values())))
    for value in values[stop:]:
        second.update({"loss": value})

    assert second.values() == straight.values()


def test_the_values_themselves_are_never_changed():
    torch = pytest.importorskip("torch")
    averages, value = ExponentialAverages(0.5), torch.tensor(1.0)
    averages.update({"loss": value})
    averages.update({"loss": torch.tensor(2.0)})

    assert value.item() == 1.0


def test_averages_hold_no_graph():
    torch = pytest.importorskip("torch")
    averages, weight = ExponentialAverages(0.5), torch.ones((), requires_grad=True)
    averages.update({"loss": weight * 1})
    averages.update({"loss": weight * 3})

    assert averages.values() == {"loss": 2.0}
    assert not averages.latest["loss"].requires_grad


@pytest.mark.parametrize("state", [None, [1.0], {"a": None}, {"a": True}, {1: 1.0}])
def test_wrong_averages_are_refused_and_change_nothing(state):
    averages = ExponentialAverages(0.5)
    averages.update({"a": 1.0})

    with pytest.raises(StateDictError, match="`averages` must "):
        averages.load(state)

    assert averages.values() == {"a": 1.0}


def test_an_average_that_was_read_is_not_changed_by_later_values():
    torch = pytest.importorskip("torch")
    averages = ExponentialAverages(0.5)
    averages.update({"loss": torch.tensor(1.0)})
    averages.update({"loss": torch.tensor(3.0)})
    read = averages.latest["loss"]
    averages.update({"loss": torch.tensor(9.0)})

    assert read.item() == 2.0


# ---- the handler -----------------------------------------------------------------------------------


def make_engine():
    return Engine(lambda engine, batch: batch)


def averages_of(engine, data, **options):
    """Run; return the average after each iteration."""
    seen = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(float(engine.state.metrics["loss"])))
    engine.run(data, **options)
    return seen


def test_the_average_is_in_the_metrics_after_each_iteration():
    engine = make_engine()
    RunningAverage(decay=0.5).attach(engine, "loss")

    assert averages_of(engine, [1.0, 3.0, 2.0]) == [1.0, 2.0, 2.0]


def test_a_part_of_the_output_is_averaged():
    engine = Engine(lambda engine, batch: {"loss": batch})
    RunningAverage(lambda output: output["loss"], decay=0.5).attach(engine, "loss")

    assert averages_of(engine, [1.0, 3.0]) == [1.0, 2.0]


@pytest.mark.parametrize(("scope", "expected"), [("run", [0.0, 4.0, 2.0, 5.0]), ("epoch", [0.0, 4.0, 0.0, 4.0])])
def test_the_average_goes_over_the_run_or_starts_again_with_each_epoch(scope, expected):
    engine = make_engine()
    RunningAverage(decay=0.5, scope=scope).attach(engine, "loss")

    assert averages_of(engine, [0.0, 8.0], max_epochs=2) == expected


def test_a_new_run_starts_again():
    engine = make_engine()
    RunningAverage(decay=0.5).attach(engine, "loss")
    engine.run([100.0])

    assert averages_of(engine, [1.0, 3.0]) == [1.0, 2.0]


@pytest.mark.parametrize("stop", range(1, 6))
@pytest.mark.parametrize("scope", ["run", "epoch"])
def test_a_resumed_run_continues_the_average_that_is_saved_with_the_engine(stop, scope):
    def make():
        engine = make_engine()
        RunningAverage(decay=0.9, scope=scope).attach(engine, "loss")
        return engine

    data = [1.0, 5.0, 2.0]
    expected = averages_of(make(), data, max_epochs=2)
    stopped = make()
    stopped.add_event_handler(Events.ITERATION_COMPLETED(once=stop), stopped.terminate)
    stopped.run(data, max_epochs=2)

    resumed = make()
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))

    assert averages_of(resumed, data) == expected[stop:]


def test_the_average_is_there_before_the_first_iteration_of_a_resumed_run():
    engine, resumed, seen = make_engine(), make_engine(), []
    RunningAverage().attach(engine, "loss")
    engine.run([3.0], max_epochs=2, epoch_length=1)
    RunningAverage().attach(resumed, "loss")
    resumed.add_event_handler(Events.STARTED, lambda: seen.append(dict(resumed.state.metrics)))

    resumed.load_state_dict(engine.state_dict())
    resumed.run([3.0], max_epochs=3)

    assert seen == [{"loss": 3.0}]


def test_the_average_of_tensors_is_a_tensor_without_dimensions():
    torch = pytest.importorskip("torch")
    engine = make_engine()
    RunningAverage(decay=0.5).attach(engine, "loss")

    average = engine.run([torch.tensor([1.0]), torch.tensor([3.0])]).metrics["loss"]

    assert average.shape == ()
    assert average.item() == 2.0


def test_each_average_follows_one_engine():
    average = RunningAverage()
    average.attach(make_engine(), "loss")

    with pytest.raises(RunningError, match="a running average must be attached once, and this one is, as 'loss'"):
        average.attach(make_engine(), "loss")


def test_a_name_that_is_taken_is_refused():
    engine = make_engine()
    RunningAverage().attach(engine, "loss")

    with pytest.raises(ArgumentError, match="`name` must be that of no other metric of the engine, got 'loss'"):
        RunningAverage().attach(engine, "loss")


def test_an_output_that_is_no_number_is_refused():
    engine = make_engine()
    RunningAverage().attach(engine, "loss")

    with pytest.raises(ArgumentTypeError, match=r"must return single numbers, got \[1\] for 'loss'"):
        engine.run([[1]])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"decay": 1.0}, "`decay` must be at least 0 and below 1, got 1.0"),
        ({"decay": float("nan")}, "`decay` must be at least 0 and below 1, got nan"),
        ({"scope": "batch"}, "`scope` must be 'run' or 'epoch', got 'batch'"),
    ],
)
def test_a_wrong_argument_is_refused(options, text):
    with pytest.raises(ArgumentError, match=text):
        RunningAverage(**options)


@pytest.mark.parametrize("state", [None, {}, {"average": "high"}, {"average": 1.0, "more": 2}])
def test_a_wrong_state_is_refused(state):
    with pytest.raises(StateDictError):
        RunningAverage().load_state_dict(state)
