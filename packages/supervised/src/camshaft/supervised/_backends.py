"""Backends: plain torch, a gradient scaler, NVIDIA's apex, XLA. What differs between them, and nothing else.

That of Accelerate has a module of its own.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from camshaft.engine import ArgumentError, ArgumentTypeError
from camshaft.supervised._errors import BackendMissingError

if TYPE_CHECKING:
    from types import ModuleType

    from torch.amp.grad_scaler import GradScaler

    from camshaft.supervised._batch import Device

BackendName = Literal["plain", "apex", "xla"]
AMP_MODES = (None, "amp", "apex")


@dataclass(frozen=True, slots=True)
class Backend:
    """What happens between a loss and the new parameters.

    Attributes:
        backward: adds the gradients of a loss to those of the parameters.
        unscale: brings the gradients to their true size, so that they can be clipped or weighted. Called at most once
            before a step, and only when something looks at the gradients.
        step: lets the optimizer use the gradients.
        announce: told before an iteration of an accumulation window whether it is the last one.
        exchanges_always: whether processes exchange gradients in each iteration of a window.
    """

    backward: Callable[[torch.Tensor], None]
    unscale: Callable[[], None]
    step: Callable[[], None]
    announce: Callable[[bool], None] = lambda is_last: None  # the default of a field
    exchanges_always: bool = False


def make_backend(name: BackendName, optimizer: torch.optim.Optimizer, scaler: GradScaler | None = None) -> Backend:
    """Return the backend of that name.

    Args:
        name: what `select_backend` returned.
        optimizer: steps with the gradients.
        scaler: scales the loss on the plain backend; None scales nothing.
    """
    if name == "apex":
        return apex_backend(optimizer)
    if name == "xla":
        return xla_backend(optimizer)
    return plain_backend(optimizer) if scaler is None else scaled_backend(optimizer, scaler)


# ---- which one -------------------------------------------------------------------------------------


def as_device(device: Device) -> torch.device | None:
    """Return `device` as torch's own type, None when none is named.

    Args:
        device: a device, its name or its index; None names none.

    Raises:
        ArgumentError: torch knows no device of that name.
        ArgumentTypeError: it cannot name a device at all.
    """
    try:
        return None if device is None else torch.device(device)
    except RuntimeError as error:
        raise ArgumentError(f"`device` must be a device of torch, got {device!r}; try 'cpu' or 'cuda'") from error
    except TypeError as error:
        raise ArgumentTypeError(f"`device` must be a torch.device or its name, got {device!r}") from error


def select_backend(
    device: Device, amp_mode: str | None, scaler: bool | GradScaler | None = None, dtype: torch.dtype | None = None
) -> BackendName:
    """Return the backend for a device and a mode, after checking that it can be used.

    Args:
        device: where the batches go; None leaves them where they are.
        amp_mode: None, "amp" or "apex".
        scaler: the gradient scaler, or whether to make one; None and False mean none.
        dtype: what autocast computes in; None for its default.

    Raises:
        ArgumentError: the mode is unknown, or does not go with the device, the scaler or the dtype; or there is no
            such device.
        BackendMissingError: the backend is not installed, or not in a usable form.
    """
    placed = as_device(device)
    kind = None if placed is None else placed.type
    if amp_mode not in AMP_MODES:
        raise ArgumentError(f"`amp_mode` must be None, 'amp' or 'apex', got {amp_mode!r}")
    if kind == "mps" and amp_mode is not None:
        raise ArgumentError(f"`amp_mode` must be None on an MPS device, got {amp_mode!r}; use device='cuda'")
    if kind == "xla" and amp_mode == "apex":
        raise ArgumentError("`amp_mode` must be None or 'amp' on an XLA device, got 'apex'")
    if scaler is not None and scaler is not False:
        _require_scaler_fits(kind, amp_mode)
    if dtype is not None and amp_mode != "amp":
        raise ArgumentError(f"`amp_dtype` must be None unless amp_mode is 'amp', got {dtype} and amp_mode={amp_mode!r}")
    if placed is not None and not _is_present(placed):
        raise ArgumentError(f"`device` must be a device that torch finds here, got {device!r}; use 'cpu'")
    if amp_mode == "apex":
        require_apex()
        return "apex"
    if kind == "xla":
        require_xla()
        return "xla"
    return "plain"


def _is_present(device: torch.device) -> bool:
    """Return whether there is such a device, as far as torch knows; others than these tell at their first use."""
    modules = {"cuda": torch.cuda, "mps": torch.backends.mps, "xpu": torch.xpu}
    return device.type not in modules or bool(modules[device.type].is_available())


def _require_scaler_fits(kind: str | None, amp_mode: str | None) -> None:
    if amp_mode != "amp":
        raise ArgumentError(f"`scaler` must be False unless amp_mode is 'amp', got amp_mode={amp_mode!r}")
    if kind == "xla":
        raise ArgumentError("`scaler` must be False on an XLA device, which autocasts to bfloat16")


def require_flag(name: str, value: Any) -> bool:
    """Return the value of an argument that switches something on.

    Args:
        name: of the argument.
        value: what was given.

    Raises:
        ArgumentTypeError: it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise ArgumentTypeError(f"`{name}` must be True or False, got {value!r}")
    return value


def compute_device(device: Device, model: torch.nn.Module) -> torch.device:
    """Return the device that computes: the one named, else that of the model's parameters, else the CPU.

    Args:
        device: a device, its name or its index; None names none.
        model: the model.
    """
    named = as_device(device)
    if named is not None:
        return named
    with suppress(StopIteration):
        return next(model.parameters()).device
    return torch.device("cpu")


# ---- plain torch -----------------------------------------------------------------------------------


def plain_backend(optimizer: torch.optim.Optimizer) -> Backend:
    """Return the backend that scales nothing.

    Args:
        optimizer: steps with the gradients.
    """

    # Plain functions: Python calls them faster than a `methodcaller`.
    def backward(loss: torch.Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def step() -> None:
        # Looked up at each call: a scheduler that is made later wraps it.
        optimizer.step()

    return Backend(backward=backward, unscale=lambda: None, step=step)


def scaled_backend(optimizer: torch.optim.Optimizer, scaler: GradScaler) -> Backend:
    """Return the backend that scales the loss up, so that float16 gradients do not vanish.

    Args:
        optimizer: steps with the gradients.
        scaler: scales the loss.
    """

    def step() -> None:
        scaler.step(optimizer)
        scaler.update()

    return Backend(
        backward=lambda loss: scaler.scale(loss).backward(),  # type: ignore[no-untyped-call]  # torch leaves it untyped
        unscale=lambda: scaler.unscale_(optimizer),
        step=step,
    )


# ---- apex ----------------------------------------------------------------------------------------


def require_apex() -> ModuleType:
    """Return the module `apex.amp`.

    Raises:
        BackendMissingError: what goes by the name of apex here cannot do it; the text says why.
    """
    spec = importlib.util.find_spec("apex")
    if spec is None:
        raise _apex_missing("`amp_mode` 'apex' needs NVIDIA's apex, which is not installed (it is built from source)")
    folders = [Path(place) for place in spec.submodule_search_locations or ()]
    if not _has_submodule(folders, "optimizers"):
        raise _apex_missing(
            "`amp_mode` 'apex' needs NVIDIA's apex, but the package of that name here is a different project; "
            "uninstall it and build NVIDIA's from source"
        )
    if not _has_submodule(folders, "amp"):
        raise _apex_missing("`amp_mode` 'apex' needs `apex.amp`, which this apex no longer has; use amp_mode='amp'")
    if importlib.util.find_spec("amp_C") is None:
        raise _apex_missing("`amp_mode` 'apex' needs an apex built with its CUDA extensions, and this one has none")
    return importlib.import_module("apex.amp")


def _has_submodule(folders: list[Path], name: str) -> bool:
    # Looked up without importing: the unrelated package needs others that may not be there.
    return any((folder / name).is_dir() or (folder / f"{name}.py").is_file() for folder in folders)


def _apex_missing(text: str) -> BackendMissingError:
    return BackendMissingError("apex", text)


def apex_backend(optimizer: torch.optim.Optimizer) -> Backend:
    """Return the backend whose loss is scaled by apex.

    Args:
        optimizer: steps with the gradients; it and the model went through `apex.amp.initialize` before.
    """
    amp = require_apex()

    def backward(loss: torch.Tensor) -> None:
        # At the end of this block apex itself unscales the gradients.
        with amp.scale_loss(loss, optimizer) as scaled_loss:
            scaled_loss.backward()

    return replace(plain_backend(optimizer), backward=backward)


# ---- XLA -----------------------------------------------------------------------------------------


def require_xla() -> tuple[ModuleType, ModuleType]:
    """Return the modules `torch_xla` and `torch_xla.core.xla_model`.

    Raises:
        BackendMissingError: torch_xla cannot be imported.
    """
    try:
        return importlib.import_module("torch_xla"), importlib.import_module("torch_xla.core.xla_model")
    except ImportError as error:
        found = importlib.util.find_spec("torch_xla") is not None
        state = f"cannot be imported ({error})" if found else "is not installed"
        raise BackendMissingError("xla", f"an XLA device needs torch_xla, which {state}") from error


def xla_backend(optimizer: torch.optim.Optimizer) -> Backend:
    """Return the backend whose step averages the gradients over replicas and runs what the device has recorded.

    Gradients that are clipped or weighted are averaged first, so that each replica clips their mean.

    Args:
        optimizer: steps with the gradients.
    """
    torch_xla, xla_model = require_xla()
    exchanged = False

    def exchange() -> None:
        nonlocal exchanged
        xla_model.reduce_gradients(optimizer)
        exchanged = True

    def step() -> None:
        nonlocal exchanged
        if exchanged:
            exchanged = False
            optimizer.step()
            torch_xla.sync()
        else:
            xla_model.optimizer_step(optimizer, barrier=True)

    return replace(plain_backend(optimizer), unscale=exchange, step=step)


def xla_sync() -> Callable[[], Any]:
    """Return the function that runs what an XLA device has recorded so far."""
    torch_xla, _ = require_xla()
    return torch_xla.sync  # type: ignore[no-any-return]  # an untyped module
