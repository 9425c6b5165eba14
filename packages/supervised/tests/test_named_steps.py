from __future__ import annotations

import sys

import pytest
import torch

from camshaft import supervised
from camshaft.engine import ArgumentError, Engine
from camshaft.supervised import BackendMissingError

mse_loss = torch.nn.functional.mse_loss
DATA = [(torch.ones(2, 3), torch.zeros(2, 1))] * 4


def make_parts():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.1), mse_loss


def test_the_plain_step_trains():
    model, optimizer, loss_fn = make_parts()
    trainer = Engine(supervised.supervised_training_step(model, optimizer, loss_fn))

    assert trainer.run(DATA, max_epochs=20).output < 1e-3


@pytest.mark.parametrize(
    ("scaler", "dtype", "computes_in"),
    [
        (None, None, torch.bfloat16),
        (torch.amp.GradScaler("cpu"), None, torch.float16),
        (None, torch.float16, torch.float16),
    ],
)
def test_the_amp_step_computes_in_half_precision(scaler, dtype, computes_in):
    step = supervised.supervised_training_step_amp(
        *make_parts(), scaler=scaler, amp_dtype=dtype, output_transform=lambda x, y, y_pred, loss: y_pred.dtype
    )

    assert Engine(step).run(DATA).output == computes_in


def test_the_evaluation_steps_evaluate():
    model, *_ = make_parts()

    plain = Engine(supervised.supervised_evaluation_step(model)).run(DATA).output
    mixed = Engine(supervised.supervised_evaluation_step_amp(model)).run(DATA).output

    assert torch.equal(plain[0], model(DATA[0][0]))
    assert mixed[0].dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("supervised_training_step_apex", "apex"),
        ("supervised_training_step_xla", "xla"),
        ("supervised_training_step_tpu", "xla"),
    ],
)
def test_a_step_whose_backend_is_missing_is_refused_before_anything_else(name, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, "apex", None)
    monkeypatch.setitem(sys.modules, "torch_xla", None)
    with pytest.raises(BackendMissingError) as caught:
        getattr(supervised, name)(None, None, None)

    assert caught.value.extra == extra


def test_an_unknown_device_is_refused():
    for make_step in (supervised.supervised_training_step, supervised.supervised_training_step_amp):
        with pytest.raises(ArgumentError, match="`device` must be a device of torch, got 'gpu'"):
            make_step(*make_parts(), device="gpu")


def test_an_amp_step_without_a_device_computes_where_the_parameters_are():
    model = torch.nn.Linear(3, 1, device="meta")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    with pytest.raises(ArgumentError, match=r"must be able to autocast to torch.bfloat16, got 'meta'"):
        supervised.supervised_training_step_amp(model, optimizer, mse_loss)
