"""Precision: in which number format the forward pass runs, and how gradients are scaled for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from operator import methodcaller
from typing import Any

import torch
from torch.amp.grad_scaler import GradScaler

from camshaft.engine import ArgumentError, ArgumentTypeError, EngineWarning

# A decorator: makes a function compute in a precision.
Forward = Callable[[Callable[..., Any]], Callable[..., Any]]

HALF_TYPES = (torch.bfloat16, torch.float16)


def full_precision(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, which computes in the types of what it is given."""
    return function


@dataclass(frozen=True, slots=True)
class Passes:
    """What happens between a loss and the new parameters.

    Attributes:
        backward: adds the gradients of a loss to the parameters'.
        unscale: makes the gradients those of the loss, so that they can be clipped or weighted: called at most once
            before a step, and not at all where nothing looks at them.
        step: lets the optimizer use the gradients.
    """

    backward: Callable[[torch.Tensor], None]
    unscale: Callable[[], None]
    step: Callable[[], None]


def plain_passes(optimizer: torch.optim.Optimizer) -> Passes:
    """Return the passes without any scaling."""

    def step() -> None:
        # Looked up at each call: a schedule that is made later puts a wrapper there.
        optimizer.step()

    return Passes(backward=methodcaller("backward"), unscale=lambda: None, step=step)


def scaled_passes(optimizer: torch.optim.Optimizer, scaler: GradScaler) -> Passes:
    """Return the passes with the loss scaled up, so that float16 gradients do not vanish."""

    def step() -> None:
        scaler.step(optimizer)
        scaler.update()

    return Passes(
        backward=lambda loss: scaler.scale(loss).backward(),  # type: ignore[no-untyped-call]  # torch leaves it untyped
        unscale=lambda: scaler.unscale_(optimizer),
        step=step,
    )


def make_scaler(scaler: bool | GradScaler, device: torch.device) -> GradScaler | None:
    """Return the scaler that `scaler` asks for: none, a new one for the device, or itself.

    Raises:
        ArgumentTypeError: it is neither a bool nor a scaler.
    """
    if isinstance(scaler, bool):
        return GradScaler(device.type) if scaler else None
    if not all(callable(getattr(scaler, name, None)) for name in ("scale", "unscale_", "step", "update")):
        raise ArgumentTypeError(f"`scaler` must be a bool or a torch.amp.GradScaler, got {scaler!r}")
    return scaler


def is_enabled(scaler: GradScaler) -> bool:
    """Tell whether a scaler scales: one that was switched off lets everything through as it is."""
    ask = getattr(scaler, "is_enabled", None)
    return ask is None or bool(ask())


def autocast(device: torch.device, dtype: torch.dtype | None = None, *, scaled: bool = False) -> torch.amp.autocast:
    """Return what lets a forward pass run in half precision: a decorator, and a context manager as well.

    Args:
        device: the device that computes.
        dtype: bfloat16 or float16; None takes float16 when the gradients are scaled, else
            bfloat16, or float16 with a warning on GPUs that lack bfloat16.
        scaled: whether a scaler is used.

    Raises:
        ArgumentError: the dtype is none of the two, or the device cannot compute in it.

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
                stacklevel=4,
            )
    if not _supports(device, wanted):
        raise ArgumentError(
            f"`device` must be able to autocast to {wanted}, got '{device}'; "
            "name another `amp_dtype` or device, or use amp_mode=None"
        )
    return torch.amp.autocast(device.type, dtype=wanted)


def _supports(device: torch.device, dtype: torch.dtype) -> bool:
    """Tell whether `device` computes in `dtype`, rather than declining or emulating it."""
    if device.type == "cuda" and not torch.cuda.is_available():
        return False
    if device.type == "cuda" and dtype is torch.bfloat16:
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    with warnings.catch_warnings():
        # torch answers "no" in three ways: an error, or a warning and a context that does nothing.
        warnings.simplefilter("ignore")
        try:
            with torch.amp.autocast(device.type, dtype=dtype):
                return bool(torch.is_autocast_enabled(device.type))
        except (RuntimeError, AssertionError):
            return False
