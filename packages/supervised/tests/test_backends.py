from __future__ import annotations

import importlib
import sys

import pytest
import torch

from camshaft.engine import ArgumentError, ArgumentTypeError
from camshaft.supervised import BackendMissingError, create_supervised_trainer
from camshaft.supervised._backends import (
    as_device,
    compute_device,
    make_backend,
    plain_backend,
    scaled_backend,
    select_backend,
    xla_backend,
)
from camshaft.supervised._optimizer_step import OptimizerStep

STAND_IN_AMP = '''
"""A stand-in for NVIDIA's apex.amp, which cannot be installed here: it records how it is called."""

from contextlib import contextmanager

calls = []


@contextmanager
def scale_loss(loss, optimizer):
    calls.append((loss.item(), optimizer))
    yield loss * 8
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad.div_(8)
'''

STAND_IN_OPTIMIZERS = '''
"""A stand-in for NVIDIA's apex.optimizers, whose kernels need a GPU: plain arithmetic, with the arguments of apex."""

import torch

calls = []


class FusedAdam(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, bias_correction=True, set_grad_none=True):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None, grads=None, output_params=None, scale=None, grad_norms=None):
        if any(value is not None for value in (grads, output_params, scale, grad_norms)):
            raise RuntimeError("FusedAdam takes none of these any more")
        for group in self.param_groups:
            calls.append([parameter.grad.item() for parameter in group["params"]])
            for parameter in group["params"]:
                parameter -= group["lr"] * parameter.grad
'''

STAND_IN_XLA = '''
"""A stand-in for torch_xla on two replicas, one of them with gradients of zero: it records how it is called."""

calls = []


def sync():
    calls.append("sync")
'''

STAND_IN_XLA_MODEL = """
from torch_xla import calls, sync


def reduce_gradients(optimizer):
    calls.append("reduce_gradients")
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad.div_(2)


def optimizer_step(optimizer, barrier=False):
    reduce_gradients(optimizer)
    optimizer.step()
    if barrier:
        sync()
"""
XLA_MODEL = "torch_xla.core.xla_model"
NVIDIA_APEX = {"apex/__init__.py": "", "apex/optimizers/__init__.py": STAND_IN_OPTIMIZERS}


@pytest.fixture
def make_package(tmp_path, monkeypatch):
    """Make a package that goes by the name of another one, from file names and their contents."""

    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()

    yield make
    for name in ("apex", "apex.amp", "apex.optimizers", "amp_C", "torch_xla", "torch_xla.core", XLA_MODEL):
        sys.modules.pop(name, None)


def test_the_plain_backend_needs_nothing():
    assert select_backend(None, None) == "plain"
    assert select_backend("cpu", "amp", scaler=True) == "plain"


@pytest.mark.parametrize("mode", ["AMP", "fp16", "", True, 1])
def test_an_unknown_mode_is_refused_with_the_choices(mode):
    with pytest.raises(ArgumentError, match="`amp_mode` must be None, 'amp' or 'apex', got "):
        select_backend(None, mode)


@pytest.mark.parametrize("mode", ["amp", "apex"])
def test_no_mode_works_on_mps(mode):
    with pytest.raises(ArgumentError, match=f"`amp_mode` must be None on an MPS device, got '{mode}'"):
        select_backend("mps", mode)


def test_apex_does_not_work_on_xla_whatever_is_installed():
    with pytest.raises(ArgumentError, match="`amp_mode` must be None or 'amp' on an XLA device, got 'apex'"):
        select_backend("xla", "apex")


@pytest.mark.parametrize("mode", [None, "apex"])
def test_a_scaler_goes_with_amp_only(mode):
    with pytest.raises(ArgumentError, match="`scaler` must be False unless amp_mode is 'amp', got amp_mode="):
        select_backend(None, mode, scaler=True)


@pytest.mark.parametrize("mode", [None, "apex"])
def test_a_dtype_goes_with_amp_only(mode):
    with pytest.raises(ArgumentError, match="`amp_dtype` must be None unless amp_mode is 'amp', got torch.bfloat16"):
        select_backend(None, mode, dtype=torch.bfloat16)


def test_a_scaler_does_not_work_on_xla():
    with pytest.raises(ArgumentError, match="`scaler` must be False on an XLA device"):
        select_backend("xla", "amp", scaler=True)


def test_devices_are_named_or_passed():
    assert as_device(None) is None
    assert as_device("cpu") == torch.device("cpu")
    assert as_device(torch.device("cpu")) == torch.device("cpu")


def test_an_unknown_device_is_refused():
    with pytest.raises(ArgumentError, match="`device` must be a device of torch, got 'gpu'"):
        as_device("gpu")


def test_what_cannot_name_a_device_is_refused():
    with pytest.raises(ArgumentTypeError, match=r"`device` must be a torch.device or its name, got \[\]"):
        as_device([])


@pytest.mark.parametrize(
    ("named", "of_parameters", "computes"),
    [(None, "cpu", "cpu"), (None, "meta", "meta"), ("meta", "cpu", "meta"), (torch.device("meta"), "cpu", "meta")],
)
def test_the_named_device_computes_else_that_of_the_parameters(named, of_parameters, computes):
    assert compute_device(named, torch.nn.Linear(1, 1, device=of_parameters)) == torch.device(computes)


def test_a_model_without_parameters_computes_on_the_cpu():
    assert compute_device(None, torch.nn.Identity()) == torch.device("cpu")


def test_a_scaler_makes_a_backend_that_scales():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    scaled = make_backend("plain", optimizer, torch.amp.GradScaler("cpu", init_scale=8.0))
    plain = make_backend("plain", optimizer)

    gradients = []
    for backend in (scaled, plain):
        optimizer.zero_grad()
        backend.backward(weight.sum())
        gradients.append(weight.grad.item())

    assert gradients == [8.0, 1.0]


@pytest.mark.parametrize("mode", [None, "amp"])
def test_a_missing_torch_xla_is_found_before_anything_else(mode, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_xla", None)
    with pytest.raises(BackendMissingError, match=r"needs torch_xla, which is not installed; .*\[xla\]"):
        create_supervised_trainer(None, None, None, device="xla", amp_mode=mode)


def test_a_missing_apex_is_found_before_anything_else(monkeypatch):
    monkeypatch.setitem(sys.modules, "apex", None)
    with pytest.raises(BackendMissingError, match=r"needs NVIDIA's apex, which is not installed .*\[apex\]"):
        create_supervised_trainer(None, None, None, amp_mode="apex")


def test_the_unrelated_package_named_apex_is_refused_by_name_without_importing_it(make_package):
    make_package({"apex/__init__.py": "raise ImportError('this package needs many others')", "apex/toolkit.py": ""})

    with pytest.raises(BackendMissingError, match="the package of that name here is a different project"):
        select_backend(None, "apex")


def test_an_apex_without_amp_is_refused_by_name(make_package):
    make_package(NVIDIA_APEX)

    with pytest.raises(BackendMissingError, match=r"this apex no longer has; use amp_mode='amp'"):
        select_backend(None, "apex")


def test_an_apex_without_its_extensions_is_refused_by_name(make_package):
    make_package(NVIDIA_APEX | {"apex/amp/__init__.py": STAND_IN_AMP})

    with pytest.raises(BackendMissingError, match="needs an apex built with its CUDA extensions"):
        select_backend(None, "apex")


def test_apex_scales_each_loss_and_the_optimizer_steps(make_package):
    make_package(NVIDIA_APEX | {"apex/amp/__init__.py": STAND_IN_AMP, "amp_C.py": ""})
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 3.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    trainer = create_supervised_trainer(
        model, optimizer, lambda y_pred, y: (y_pred - y).square().mean(), amp_mode="apex"
    )

    output = trainer.run([(torch.ones(1, 1), torch.ones(1, 1))]).output

    assert output.item() == 4.0
    assert sys.modules["apex.amp"].calls == [(4.0, optimizer)]
    assert model.weight.item() == 3.0 - 0.25 * 2 * (3.0 - 1.0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"amp_mode": "amp"},
        {"amp_mode": "amp", "scaler": torch.amp.GradScaler("cpu", init_scale=16.0)},
        {"amp_mode": "amp", "scaler": torch.amp.GradScaler("cpu", init_scale=16.0), "clip_grad_norm": 100.0},
    ],
    ids=["plain", "bfloat16", "float16", "float16, clipped"],
)
def test_a_fused_optimizer_of_apex_steps_with_true_gradients(options, make_package):
    make_package(NVIDIA_APEX)
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 3.0)
    fused = importlib.import_module("apex.optimizers")
    trainer = create_supervised_trainer(
        model, fused.FusedAdam(model.parameters(), lr=0.25), torch.nn.functional.mse_loss, **options
    )

    trainer.run([(torch.ones(1, 1), torch.ones(1, 1))] * 2)

    assert fused.calls == [[4.0], [2.0]]
    assert model.weight.item() == 3.0 - 0.25 * 4.0 - 0.25 * 2.0


# ---- scaling --------------------------------------------------------------------------------------


def test_scaled_gradients_are_true_after_unscaling():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    backend = scaled_backend(optimizer, torch.amp.GradScaler("cpu", init_scale=1024.0))

    backend.backward((3.0 * weight).sum())
    assert weight.grad.item() == 3.0 * 1024
    backend.unscale()
    assert weight.grad.item() == 3.0
    backend.step()

    assert weight.item() == 1.0 - 3.0


def test_a_step_whose_gradients_overflowed_is_left_out():
    weight = torch.nn.Parameter(torch.ones(1))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    backend = scaled_backend(torch.optim.SGD([weight], lr=1.0), scaler)

    backend.backward((weight * float("inf")).sum())
    backend.step()

    assert weight.item() == 1.0
    assert scaler.get_scale() == 512.0


def test_a_schedule_made_after_the_backend_sees_its_steps():
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    backend = plain_backend(optimizer)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)

    backend.backward(weight.sum())
    backend.step()
    schedule.step()  # it would warn, had it not seen the optimizer's step

    assert schedule.get_last_lr() == [0.1]


# ---- XLA: what a machine with one replica cannot show; the real device is in test_xla.py -----------------


@pytest.mark.parametrize(
    ("options", "moved_by"),
    [({}, 25.0), ({"clip_grad_norm": 50.0}, 25.0), ({"clip_grad_norm": 10.0}, 10.0), ({"clip_grad_value": 5.0}, 5.0)],
)
def test_replicas_clip_the_mean_of_their_gradients(options, moved_by, make_package):
    make_package({"torch_xla/__init__.py": STAND_IN_XLA, "torch_xla/core/xla_model.py": STAND_IN_XLA_MODEL})
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    step = OptimizerStep(
        optimizer, xla_backend(optimizer), options.get("clip_grad_norm"), options.get("clip_grad_value")
    )

    for _ in range(2):
        optimizer.zero_grad()
        step.backend.backward(-50.0 * weight.sum())
        step()

    assert weight.item() == pytest.approx(2 * moved_by)
    assert sys.modules["torch_xla"].calls == ["reduce_gradients", "sync"] * 2


@pytest.mark.parametrize(
    "device",
    [name for name, module in (("cuda", torch.cuda), ("mps", torch.backends.mps)) if not module.is_available()],
)
def test_a_device_that_torch_does_not_find_is_refused(device):
    with pytest.raises(ArgumentError, match=f"`device` must be a device that torch finds here, got '{device}'"):
        select_backend(device, None)
