from __future__ import annotations

import pytest
import torch

from camshaft.engine import ArgumentError
from camshaft.supervised._build import Arithmetic, build_evaluation, build_training
from camshaft.supervised._precision import full_precision
from camshaft.supervised._prediction import Prediction, call_model, identity


def make_prediction(device=None) -> Prediction:
    return Prediction(torch.nn.Linear(1, 1), device, False, lambda batch, **_: batch, identity, call_model)


@pytest.mark.parametrize(("named", "placed"), [(None, "cpu"), ("meta", "meta"), (torch.device("meta"), "meta")])
def test_the_named_device_computes_else_that_of_the_parameters(named, placed):
    assert Arithmetic("plain").place(make_prediction(named)) == torch.device(placed)


def test_full_precision_leaves_the_forward_pass_as_it_is():
    assert Arithmetic("plain").forward(torch.device("cpu")) is full_precision
    assert full_precision(call_model) is call_model


def test_a_mode_is_settled_together_with_its_device():
    assert Arithmetic.select("cpu", "amp", torch.float16) == Arithmetic("plain", amp=True, dtype=torch.float16)
    with pytest.raises(ArgumentError, match="`amp_mode` must be None on an MPS device"):
        Arithmetic.select("mps", "amp", None)


def test_a_training_without_accumulation_and_scaler_has_neither():
    prediction = make_prediction()
    optimizer = torch.optim.SGD(prediction.model.parameters(), lr=0.1)

    training = build_training(
        Arithmetic("plain"), prediction, optimizer, lambda *_: None, lambda *_: None, 1, None, None
    )

    assert training.accumulation is None
    assert training.scaler is None


def test_an_evaluation_comes_with_the_modes_it_keeps():
    evaluation = build_evaluation(Arithmetic("plain"), make_prediction(), lambda *_: None)

    assert not evaluation.modes.recorded
