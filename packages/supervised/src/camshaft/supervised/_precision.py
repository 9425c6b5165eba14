"""Precision: which floating-point type the forward pass runs in, and the gradient scaler that goes with float16."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler

from camshaft.engine import ArgumentError, ArgumentTypeError, EngineWarning

# A decorator that makes a function compute in a precision.
Precision = Callable[[Callable[..., Any]], Callable[..., Any]]

HALF_TYPES = (torch.bfloat16, torch.float16)


def full_precision(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, which computes in the types of its arguments."""
    return function


def autocast(device: torch.device, dtype: torch.dtype | None = None, *, scaled: bool = False) -> torch.amp.autocast:
    """Return the decorator that makes a forward pass run in half precision.

    Args:
        device: the device that computes.
        dtype: bfloat16 or float16. None means float16 when the gradients are scaled, otherwise bfloat16, or float16
            with a warning on GPUs without bfloat16.
        scaled: whether the gradients are scaled.

    Raises:
        ArgumentError: the dtype is neither of the two, or the device cannot compute in it.

    Warns:
        EngineWarning: no dtype was asked for and the device lacks bfloat16.
    """
    if dtype is not None and dtype not in HALF_TYPES:
        raise ArgumentError(f"`amp_dtype` must be torch.bfloat16 or torch.float16, got {dtype!r}")
    wanted = dtype or (torch.float16 if scaled else torch.bfloat16)
    if dtype is None and not scaled and device.type == "cuda" and not _supports(device, wanted):
        wanted = torch.float16
        if _supports(device, wanted):
            warnings.warn(
                f"{device} lacks bfloat16, so autocast uses float16 without a scaler; `scaler=True` trains more safely",
                EngineWarning,
                stacklevel=4,  # whoever called the factory or the named step
            )
    if not _supports(device, wanted):
        raise ArgumentError(
            f"`device` must be able to autocast to {wanted}, got '{device}'; "
            "choose another `amp_dtype` or device, or use amp_mode=None"
        )
    return torch.amp.autocast(device.type, dtype=wanted)


def make_scaler(scaler: bool | GradScaler | None, device: torch.device) -> GradScaler | None:
    """Return the gradient scaler that was asked for.

    Args:
        scaler: True makes one for the device, False or None means none, and a scaler is used as it is.
        device: the device that computes.

    Raises:
        ArgumentTypeError: it is none of these.
    """
    if scaler is None or isinstance(scaler, bool):
        return GradScaler(device.type) if scaler else None
    if not all(callable(getattr(scaler, name, None)) for name in ("scale", "unscale_", "step", "update")):
        raise ArgumentTypeError(f"`scaler` must be a bool or a torch.amp.GradScaler, got {scaler!r}")
    return scaler


def is_scaling(scaler: GradScaler | None) -> bool:
    """Return whether gradients are scaled: there is a scaler, and it is not switched off."""
    ask = getattr(scaler, "is_enabled", None)
    return scaler is not None and (ask is None or bool(ask()))


def _supports(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether `device` computes in `dtype` itself, neither refusing nor emulating it."""
    if device.type == "cuda" and not torch.cuda.is_available():
        return False
    if device.type == "cuda" and dtype is torch.bfloat16:
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    with warnings.catch_warnings():
        # torch says "no" in three ways: by an error, by a warning, and by a context that does nothing.
        warnings.simplefilter("ignore")
        try:
            with torch.amp.autocast(device.type, dtype=dtype):
                return bool(torch.is_autocast_enabled(device.type))
        except (RuntimeError, AssertionError):
            return False
