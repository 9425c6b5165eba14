"""Steps put together: backend, precision, accumulation and the two step functions meet here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from camshaft.supervised._backends import (
    BackendName,
    apex_passes,
    as_device,
    default_device,
    select_backend,
    xla_passes,
    xla_sync,
)
from camshaft.supervised._eval_step import Modes, make_evaluation_step
from camshaft.supervised._precision import (
    Forward,
    Passes,
    autocast,
    full_precision,
    is_enabled,
    make_scaler,
    plain_passes,
    scaled_passes,
)
from camshaft.supervised._train_step import (
    Accumulation,
    Step,
    Update,
    make_accumulation,
    make_training_step,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch.amp.grad_scaler import GradScaler

    from camshaft.supervised._prediction import Prediction


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What the numbers are computed with.

    Attributes:
        backend: as `select_backend` returned it.
        amp: whether the forward pass runs under torch's autocast.
        dtype: what autocast computes in, None for the device's default.
        scaler: True for a new one, False for none, or the one to use.
    """

    backend: BackendName
    amp: bool = False
    dtype: torch.dtype | None = None
    scaler: bool | GradScaler = False

    @classmethod
    def select(cls, device: Any, amp_mode: str | None, dtype: torch.dtype | None, scaler: Any = False) -> Arithmetic:
        """Return what goes with a device and a mode; see `select_backend` for what is refused."""
        return cls(select_backend(device, amp_mode, scaler, dtype), amp_mode == "amp", dtype, scaler)

    def place(self, prediction: Prediction) -> torch.device:
        """Return the device that computes: the one named, else that of the parameters."""
        return as_device(prediction.device) or default_device(prediction.model)

    def forward(self, device: torch.device, scaled: bool = False) -> Forward:
        """Return the precision of the forward pass."""
        return autocast(device, self.dtype, scaled=scaled) if self.amp else full_precision

    def passes(self, optimizer: torch.optim.Optimizer, scaler: GradScaler | None) -> Passes:
        """Return what happens between a loss and the new parameters."""
        if self.backend == "apex":
            return apex_passes(optimizer)
        if self.backend == "xla":
            return xla_passes(optimizer)
        return plain_passes(optimizer) if scaler is None else scaled_passes(optimizer, scaler)


class Training(NamedTuple):
    """A training step and what an engine needs to know of it."""

    step: Step
    accumulation: Accumulation | None
    scaler: GradScaler | None


def build_training(
    arithmetic: Arithmetic,
    prediction: Prediction,
    optimizer: torch.optim.Optimizer,
    loss_fn: Callable[[Any, Any], torch.Tensor],
    output_transform: Callable[[Any, Any, Any, Any], Any],
    accumulation_steps: int,
    clip_norm: float | None,
    clip_value: float | None,
) -> Training:
    """Return the training step for these choices."""
    device = arithmetic.place(prediction)
    scaler = make_scaler(arithmetic.scaler, device)
    forward = arithmetic.forward(device, scaled=scaler is not None and is_enabled(scaler))
    update = Update(optimizer, arithmetic.passes(optimizer, scaler), clip_norm, clip_value)
    accumulation = make_accumulation(accumulation_steps, prediction.model, update)
    step = make_training_step(prediction, forward, loss_fn, update, output_transform, accumulation)
    return Training(step, accumulation, scaler)


class Evaluation(NamedTuple):
    """An evaluation step and what an engine needs to know of it."""

    step: Step
    modes: Modes


def build_evaluation(
    arithmetic: Arithmetic, prediction: Prediction, output_transform: Callable[[Any, Any, Any], Any]
) -> Evaluation:
    """Return the evaluation step for these choices."""
    forward = arithmetic.forward(arithmetic.place(prediction))
    modes = Modes(prediction.model)
    synchronize = xla_sync() if arithmetic.backend == "xla" else None
    return Evaluation(make_evaluation_step(prediction, forward, output_transform, modes, synchronize), modes)
