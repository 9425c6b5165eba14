from __future__ import annotations

import pytest
import torch

from camshaft.engine import ArgumentError, ArgumentTypeError
from camshaft.supervised._precision import autocast, is_scaling, make_scaler

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
    assert make_scaler(None, CPU) is None


@pytest.mark.parametrize("scaler", ["yes", 1])
def test_what_is_no_scaler_is_refused(scaler):
    with pytest.raises(ArgumentTypeError, match=r"`scaler` must be a bool or a torch.amp.GradScaler, got "):
        make_scaler(scaler, CPU)


def test_a_scaler_that_is_switched_off_scales_nothing():
    scalers = (None, torch.amp.GradScaler("cpu", enabled=False), torch.amp.GradScaler("cpu"))

    assert [is_scaling(scaler) for scaler in scalers] == [False, False, True]
