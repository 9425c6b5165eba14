"""Training through an `Accelerator`: what it decides is asked of it, and not of the arguments of the trainer."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

from camshaft.engine import ArgumentError, ArgumentTypeError, imported
from camshaft.supervised._backends import Backend
from camshaft.supervised._errors import BackendMissingError

if TYPE_CHECKING:
    from types import ModuleType

    import torch
    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer
    from torch.amp.grad_scaler import GradScaler

# Arguments of the trainer that are not given beside an accelerator: what they are when left out, and why.
LEFT_OUT: dict[str, tuple[Any, str]] = {
    "device": (None, "the accelerator has one"),
    "amp_mode": (None, "Accelerator(mixed_precision=...) says it"),
    "scaler": (False, 'Accelerator(mixed_precision="fp16") makes one'),
    "amp_dtype": (None, "Accelerator(mixed_precision=...) says it"),
    "gradient_accumulation_steps": (1, "Accelerator(gradient_accumulation_steps=...) says it"),
    "cuda_graph": (False, "what an accelerator does in a step cannot be captured"),
    "prefetch": (False, "accelerator.prepare(loader) fetches a batch ahead"),
}


class Accelerated(NamedTuple):
    """What an accelerator says of a training.

    Attributes:
        optimizer: the one inside the prepared one: it zeroes gradients whenever it is told to.
        device: where the batch goes.
        accumulation_steps: iterations that share an optimizer step.
        scaler: scales the loss; None scales nothing.
        backend: goes through the accelerator.
    """

    optimizer: torch.optim.Optimizer
    device: torch.device
    accumulation_steps: int
    scaler: GradScaler | None
    backend: Backend


def accelerate(
    accelerator: Accelerator | None, model: torch.nn.Module, optimizer: torch.optim.Optimizer, **given: object
) -> Accelerated | None:
    """Return what an accelerator says of a training, None when there is none.

    Args:
        accelerator: has prepared the model and the optimizer.
        model: the model.
        optimizer: the optimizer.
        **given: the arguments in `LEFT_OUT`.

    Raises:
        BackendMissingError: accelerate is not installed.
        ArgumentTypeError: `accelerator` is something else.
        ArgumentError: model or optimizer are not prepared, an argument says what the accelerator says, or the
            accelerator trains in a way that is not known here; or an accelerator has prepared the optimizer and is
            not passed.
    """
    if accelerator is None:
        _require_own(optimizer)
        return None
    library = require_accelerate()
    if not isinstance(accelerator, library.Accelerator):
        raise ArgumentTypeError(f"`accelerator` must be an accelerate.Accelerator, got {accelerator!r}")
    for name, (default, reason) in LEFT_OUT.items():
        if given[name] is not default and given[name] != default:
            raise ArgumentError(f"`{name}` must be left out beside an accelerator, got {given[name]!r}; {reason}")
    _require_known(accelerator)
    # The mark that `prepare` itself looks for.
    if not getattr(model, "_is_accelerate_prepared", False):
        raise _unprepared("model", model)
    if not isinstance(optimizer, library.optimizer.AcceleratedOptimizer):
        raise _unprepared("optimizer", optimizer)
    steps, scaler = accelerator.gradient_accumulation_steps, accelerator.scaler
    backend = accelerate_backend(accelerator, optimizer)
    return Accelerated(optimizer.optimizer, accelerator.device, steps, scaler, backend)


def require_accelerate() -> ModuleType:
    """Return the module `accelerate`.

    Raises:
        BackendMissingError: it is not installed.
    """
    try:
        return importlib.import_module("accelerate")
    except ModuleNotFoundError as error:
        raise BackendMissingError("accelerate", "`accelerator` needs accelerate, which is not installed") from error


def _require_known(accelerator: Accelerator) -> None:
    kind = str(accelerator.distributed_type.value)
    if kind not in ("NO", "FSDP") and not kind.startswith("MULTI_"):
        raise ArgumentError(
            f"`accelerator` must train one model, replicas or shards of FSDP, got {kind}; write the step yourself"
        )
    if not accelerator.gradient_state.sync_with_dataloader:
        raise ArgumentError(
            "`accelerator` must end its accumulation with the epoch, got sync_with_dataloader=False; leave it out"
        )


def _require_own(optimizer: torch.optim.Optimizer) -> None:
    # Its step divides the gradients by the scale of a loss that nobody would have scaled.
    library = imported("accelerate.optimizer")
    if library is not None and isinstance(optimizer, library.AcceleratedOptimizer):
        raise ArgumentError(
            "`accelerator` must be the one that has prepared the optimizer, got None; pass accelerator=accelerator"
        )


def _unprepared(name: str, value: object) -> ArgumentError:
    return ArgumentError(
        f"`{name}` must be prepared by the accelerator, got a {type(value).__name__}; "
        "call model, optimizer = accelerator.prepare(model, optimizer)"
    )


def accelerate_backend(accelerator: Accelerator, optimizer: AcceleratedOptimizer) -> Backend:
    """Return the backend that goes through an accelerator.

    Args:
        accelerator: knows the precision, the scaler and the processes.
        optimizer: steps with the gradients; the accelerator has prepared it.
    """

    def backward(loss: torch.Tensor) -> None:
        # The loss has the weight of its window already. The accelerator divides it again, by the length of a full one.
        steps = accelerator.gradient_accumulation_steps
        accelerator.backward(loss if steps == 1 else loss * steps)

    def announce(is_last: bool) -> None:
        accelerator.sync_gradients = is_last

    def step() -> None:
        announce(True)  # otherwise the optimizer would leave the step out
        optimizer.step()

    return Backend(
        backward=backward,
        unscale=lambda: accelerator.unscale_gradients(optimizer),
        step=step,
        announce=announce,
        exchanges_always=bool(accelerator.gradient_state.plugin_kwargs.get("sync_each_batch", False)),
    )
