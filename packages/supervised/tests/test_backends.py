from __future__ import annotations

import importlib
import sys

import pytest
import torch

from camshaft.engine import ArgumentError, ArgumentTypeError
from camshaft.supervised import BackendMissingError, create_supervised_trainer
from camshaft.supervised._backends import as_device, default_device, select_backend

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


@pytest.fixture
def make_apex(tmp_path, monkeypatch):
    """Make a package that goes by the name of apex, from file names and their contents."""

    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        importlib.invalidate_caches()

    yield make
    for name in ("apex", "apex.amp", "amp_C"):
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


def test_the_default_device_is_that_of_the_parameters():
    assert default_device(torch.nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert default_device(torch.nn.Identity()) == torch.device("cpu")


@pytest.mark.parametrize("mode", [None, "amp"])
def test_a_missing_torch_xla_is_found_before_anything_else(mode, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_xla", None)
    with pytest.raises(BackendMissingError, match=r"needs torch_xla, which is not installed; .*\[xla\]"):
        create_supervised_trainer(None, None, None, device="xla", amp_mode=mode)


def test_a_missing_apex_is_found_before_anything_else(monkeypatch):
    monkeypatch.setitem(sys.modules, "apex", None)
    with pytest.raises(BackendMissingError, match=r"needs NVIDIA's apex, which is not installed .*\[apex\]"):
        create_supervised_trainer(None, None, None, amp_mode="apex")


def test_the_unrelated_package_named_apex_is_told_apart_without_importing_it(make_apex):
    make_apex({"apex/__init__.py": "raise ImportError('this package needs many others')", "apex/toolkit.py": ""})

    with pytest.raises(BackendMissingError, match="the package of that name here is a different project"):
        select_backend(None, "apex")


def test_an_apex_without_amp_is_told_apart(make_apex):
    make_apex({"apex/__init__.py": "", "apex/optimizers/__init__.py": ""})

    with pytest.raises(BackendMissingError, match=r"this apex no longer has; use amp_mode='amp'"):
        select_backend(None, "apex")


def test_an_apex_without_its_extensions_is_told_apart(make_apex):
    make_apex({"apex/__init__.py": "", "apex/optimizers/__init__.py": "", "apex/amp/__init__.py": STAND_IN_AMP})

    with pytest.raises(BackendMissingError, match="needs an apex built with its CUDA extensions"):
        select_backend(None, "apex")


def test_apex_scales_each_loss_and_the_optimizer_steps(make_apex):
    make_apex(
        {
            "apex/__init__.py": "",
            "apex/optimizers/__init__.py": "",
            "apex/amp/__init__.py": STAND_IN_AMP,
            "amp_C.py": "",
        }
    )
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
