from __future__ import annotations

import pytest
import torch

from camshaft.engine import ArgumentError, ArgumentTypeError
from camshaft.supervised._precision import autocast, make_scaler, plain_passes, scaled_passes

CPU = torch.device("cpu")


def product_dtype() -> torch.dtype:
    return (torch.ones(2, 2) @ torch.ones(2, 2)).dtype


@pytest.mark.parametrize(
    ("dtype", "scaled", "computes_in"),
    [
        (None, False, torch.bfloat16),
        (None, True, torch.float16),
        (torch.float16, False, torch.float16),
        (torch.bfloat16, True, torch.bfloat16),
    ],
)
def test_the_dtype_follows_from_what_was_asked_and_from_the_scaler(dtype, scaled, computes_in):
    with autocast(CPU, dtype, scaled=scaled):
        assert product_dtype() == computes_in

    assert product_dtype() == torch.float32


def test_a_decorated_function_computes_in_half_precision():
    decorated = autocast(CPU)(product_dtype)

    assert [decorated(), decorated(), product_dtype()] == [torch.bfloat16, torch.bfloat16, torch.float32]


def test_one_context_serves_every_iteration():
    context = autocast(CPU)

    for _ in range(3):
        with context:
            assert product_dtype() == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8, "bfloat16"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(ArgumentError, match=r"`amp_dtype` must be torch.bfloat16 or torch.float16, got "):
        autocast(CPU, dtype)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.parametrize("dtype", [None, torch.float16, torch.bfloat16])
def test_a_device_that_cannot_compute_is_refused_rather_than_ignored(dtype):
    with pytest.raises(ArgumentError, match=r"`device` must be able to autocast to torch.*, got 'cuda'"):
        autocast(torch.device("cuda"), dtype)


def test_a_scaler_is_made_for_the_device():
    scaler = make_scaler(True, CPU)

    assert scaler.is_enabled()
    assert scaler.scale(torch.ones(1)).device == CPU


def test_a_scaler_is_used_as_it_is():
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)

    assert make_scaler(scaler, CPU) is scaler
    assert make_scaler(False, CPU) is None


@pytest.mark.parametrize("scaler", ["yes", 1, None])
def test_what_is_no_scaler_is_refused(scaler):
    with pytest.raises(ArgumentTypeError, match=r"`scaler` must be a bool or a torch.amp.GradScaler, got "):
        make_scaler(scaler, CPU)


def test_scaled_gradients_are_true_after_unscaling():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    passes = scaled_passes(optimizer, torch.amp.GradScaler("cpu", init_scale=1024.0))

    passes.backward((3.0 * weight).sum())
    assert weight.grad.item() == 3.0 * 1024
    passes.unscale()
    assert weight.grad.item() == 3.0
    passes.step()

    assert weight.item() == 1.0 - 3.0


def test_a_step_whose_gradients_overflowed_is_left_out():
    weight = torch.nn.Parameter(torch.ones(1))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    passes = scaled_passes(torch.optim.SGD([weight], lr=1.0), scaler)

    passes.backward((weight * float("inf")).sum())
    passes.step()

    assert weight.item() == 1.0
    assert scaler.get_scale() == 512.0


def test_a_schedule_made_after_the_passes_sees_their_steps():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    passes = plain_passes(optimizer)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)

    passes.backward(weight.sum())
    passes.step()
    schedule.step()  # it would warn, had it not seen the optimizer's step

    assert schedule.get_last_lr() == [0.1]
