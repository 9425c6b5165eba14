"""The accelerators of this process: which are in use, and their random number generators."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from camshaft.engine import imported


def accelerator_module() -> tuple[str, ModuleType] | None:
    """Return the kind of the accelerator that this process works with and torch's module for it.

    None without one, and before its first use: asking must not start a device.
    """
    device = torch.accelerator.current_accelerator()
    if device is None:
        return None
    module: ModuleType = torch.get_device_module(device)
    is_initialized = getattr(module, "is_initialized", None)
    in_use = is_initialized() if is_initialized is not None else module.is_available()
    return (device.type, module) if in_use else None


def accelerator_name() -> str:
    """Return what kernels run on beside the CPU: the device's name, "none" when none is in use."""
    found = accelerator_module()
    if found is None:
        return "none"
    kind, module = found
    get_name = getattr(module, "get_device_name", None)
    return kind if get_name is None else f"{kind}: {get_name()}"


def read_accelerators() -> dict[str, Tensor]:
    """Return the generator state of every accelerator that this process uses, by device name."""
    states = {}
    found = accelerator_module()
    if found is not None:
        kind, module = found
        for number in _numbers_in_use(module):
            states[f"{kind}:{number}"] = _read(module, number)
    xla = _xla_model()
    if xla is not None:
        states["xla:0"] = torch.from_numpy(np.array([xla.get_rng_state()], dtype=np.uint64).view(np.int64))
    return states


def write_accelerators(states: dict[str, Tensor]) -> None:
    """Put generator states of `read_accelerators` back."""
    for name, state in states.items():
        kind, _, number = name.partition(":")
        xla = _xla_model()
        if kind == "xla" and xla is not None:
            xla.set_rng_state(int(state) % 2**64)
            continue
        module = torch.get_device_module(kind)
        if _is_single(module):
            module.set_rng_state(state.cpu())
        else:
            module.set_rng_state(state.cpu(), int(number))


def seed_accelerators(seed: int) -> None:
    """Seed the generators of the accelerators that this process uses."""
    found = accelerator_module()
    if found is not None:
        _, module = found
        getattr(module, "manual_seed_all", module.manual_seed)(seed)
    xla = _xla_model()
    if xla is not None:  # torch's own seeding does not reach it
        xla.set_rng_state(seed % 2**63)


def missing_accelerators(states: dict[str, Tensor]) -> list[str]:
    """Return the devices among `states` that this machine does not have."""
    return [name for name in states if not _exists(*name.partition(":")[::2])]


def _exists(kind: str, number: str) -> bool:
    if kind == "xla":
        return _xla_model() is not None
    try:
        module = torch.get_device_module(kind)
    except RuntimeError:  # torch's answer to a kind that it was not built for
        return False
    return bool(module.is_available()) and (_is_single(module) or int(number) < module.device_count())


def _numbers_in_use(module: ModuleType) -> list[int]:
    """Return the devices that have ever held memory of this process, and the current one."""
    if _is_single(module):
        return [0]
    current = module.current_device()
    stats = getattr(module, "memory_stats", None)
    return [
        number
        for number in range(module.device_count())
        if number == current or (stats is not None and stats(number).get("allocated_bytes.all.allocated", 0) > 0)
    ]


def _is_single(module: ModuleType) -> bool:
    """Tell whether a kind of accelerator has one device only, as MPS does: its calls take no number."""
    return not hasattr(module, "current_device")


def _read(module: ModuleType, number: int) -> Tensor:
    state: Tensor = module.get_rng_state() if _is_single(module) else module.get_rng_state(number)
    return state


def _xla_model() -> ModuleType | None:
    return imported("torch_xla.core.xla_model")  # type: ignore[no-any-return]  # a module or None
