from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camshaft.engine import StateDictError
from camshaft.handlers._running_average import RunningAverages


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0, 0.99))
def test_the_average_follows_the_values(values, decay):
    averages, expected = RunningAverages(decay), values[0]
    for value in values:
        averages.update({"loss": value})
    for value in values[1:]:
        expected = decay * expected + (1 - decay) * value

    assert averages.values()["loss"] == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_each_name_has_an_average_of_its_own():
    averages = RunningAverages(0.5)
    averages.update({"a": 1.0})
    averages.update({"a": 2.0, "b": 10})

    assert averages.values() == {"a": 1.5, "b": 10.0}


def test_a_reset_forgets():
    averages = RunningAverages(0.5)
    averages.update({"a": 1.0})
    averages.reset()
    averages.update({"a": 3.0})

    assert averages.values() == {"a": 3.0}


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64"])
@pytest.mark.parametrize("stop", [0, 1, 5])
def test_restored_averages_of_tensors_go_on_bit_by_bit(dtype, stop):
    torch = pytest.importorskip("torch")
    values = (torch.rand(10, generator=torch.Generator().manual_seed(0)) * 10).to(getattr(torch, dtype))
    straight, first, second = RunningAverages(0.9), RunningAverages(0.9), RunningAverages(0.9)
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
    averages, value = RunningAverages(0.5), torch.tensor(1.0)
    averages.update({"loss": value})
    averages.update({"loss": torch.tensor(2.0)})

    assert value.item() == 1.0


def test_averages_hold_no_graph():
    torch = pytest.importorskip("torch")
    averages, weight = RunningAverages(0.5), torch.ones((), requires_grad=True)
    averages.update({"loss": weight * 1})
    averages.update({"loss": weight * 3})

    assert averages.values() == {"loss": 2.0}
    assert not averages._averages["loss"].requires_grad


@pytest.mark.parametrize("state", [None, [1.0], {"a": None}, {"a": True}, {1: 1.0}])
def test_wrong_averages_are_refused_and_change_nothing(state):
    averages = RunningAverages(0.5)
    averages.update({"a": 1.0})

    with pytest.raises(StateDictError, match="`averages` must "):
        averages.load(state)

    assert averages.values() == {"a": 1.0}
