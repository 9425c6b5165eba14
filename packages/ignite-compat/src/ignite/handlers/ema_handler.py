"""Keep an exponential moving average of a model's weights."""

from __future__ import annotations

import copy
import warnings

import torch
from torch.nn.parallel import DistributedDataParallel

from camshaft.engine import ArgumentError, EngineWarning
from ignite.engine import Events
from ignite.handlers._annotations import AnyEngine, AnyEvent
from ignite.handlers.state_param_scheduler import LambdaStateScheduler

__all__ = ["EMAHandler"]

BUFFERS = ("copy", "update", "ema_train")


class EMAWarmUp:
    """The momentum of each event, counted from 1: linear from one value to another, then constant.

    Args:
        momentum_warmup: at the first event.
        warmup_iters: events until it is `momentum`.
        momentum: from then on.
    """

    def __init__(self, momentum_warmup: float, warmup_iters: int, momentum: float) -> None:
        self.momentum_warmup = momentum_warmup
        self.warmup_iters = warmup_iters
        self.momentum = momentum

    def __call__(self, event_index: int) -> float:
        """Return the momentum of an event."""
        done = event_index - 1
        if done >= self.warmup_iters - 1:
            return self.momentum
        slope = (self.momentum - self.momentum_warmup) / (self.warmup_iters - 1)
        return self.momentum_warmup + slope * done


class EMAHandler:
    """Average the weights of a model while it is trained.

    The average begins as a copy of the model; each update moves it by the share `momentum` towards
    the model: ``average = (1 - momentum) * average + momentum * weights``. What is saved and restored
    is `ema_model`.

    Args:
        model: the model in training; of a `DistributedDataParallel` the model inside is averaged.
        momentum: share of the model in an update, between 0 and 1.
        momentum_warmup: share in the first update; it goes linearly to `momentum`.
        warmup_iters: updates until it is `momentum`.
        handle_buffers: "copy" copies the model's buffers, "update" averages them too, "ema_train"
            leaves them to the average itself, which then is in training mode.

    Attributes:
        ema_model: the averaged model, in evaluation mode unless `handle_buffers` is "ema_train".
        model: the model that is followed.

    Raises:
        ValueError: `model` is no module, or an argument is out of its range.

    Examples:
        >>> from ignite.engine import Engine
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> handler = EMAHandler(model, momentum=0.5)
        >>> with torch.no_grad():
        ...     handle = handler.ema_model.weight.zero_(), model.weight.fill_(1.0)
        >>> trainer = Engine(lambda engine, batch: None)
        >>> handler.attach(trainer)
        >>> state = trainer.run([1, 2])
        >>> handler.ema_model.weight.item(), state.ema_momentum
        (0.75, 0.5)
    """

    def __init__(
        self,
        model: torch.nn.Module,
        momentum: float = 0.0002,
        momentum_warmup: float | None = None,
        warmup_iters: int | None = None,
        handle_buffers: str = "copy",
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise ArgumentError(f"`model` must be a torch.nn.Module, got {type(model)}")
        if not 0 < momentum < 1:
            raise ArgumentError(f"`momentum` must be between 0 and 1, got {momentum!r}")
        if handle_buffers not in BUFFERS:
            raise ArgumentError(f"`handle_buffers` must be one of {BUFFERS}, got {handle_buffers!r}")
        self.momentum = momentum
        self.handle_buffers = handle_buffers
        self.model = model.module if isinstance(model, DistributedDataParallel) else model
        self.ema_model = copy.deepcopy(self.model).requires_grad_(False)
        self.ema_model.train(handle_buffers == "ema_train")
        self._warmup = (
            EMAWarmUp(momentum_warmup, warmup_iters, momentum)
            if momentum_warmup is not None and warmup_iters is not None
            else None
        )
        self.momentum_scheduler: LambdaStateScheduler | None = None

    def attach(
        self,
        engine: AnyEngine,
        name: str = "ema_momentum",
        warn_if_exists: bool = True,
        event: AnyEvent = Events.ITERATION_COMPLETED,
    ) -> None:
        """Update the average at an event of the trainer.

        Args:
            engine: the trainer.
            name: attribute of its state that holds the momentum.
            warn_if_exists: whether to warn if it has that attribute already; its value stays.
            event: when.
        """
        if not hasattr(engine.state, name):
            setattr(engine.state, name, self.momentum)
        elif warn_if_exists:
            warnings.warn(
                f"the state has an attribute {name!r} already, which is the momentum now; give another `name`, or "
                "warn_if_exists=False if it was restored",
                EngineWarning,
                stacklevel=2,
            )
        if self._warmup is not None:
            self.momentum_scheduler = LambdaStateScheduler(self._warmup, param_name=name)
            self.momentum_scheduler.attach(engine, event)
        engine.add_event_handler(event, self._update_ema_model, name)

    @torch.no_grad()
    def _update_ema_model(self, engine: AnyEngine, name: str) -> None:
        momentum = getattr(engine.state, name)
        for average, weight in zip(self.ema_model.parameters(), self.model.parameters(), strict=True):
            move(average, weight, momentum)
        if self.handle_buffers == "ema_train":
            return
        for average, buffer in zip(self.ema_model.buffers(), self.model.buffers(), strict=True):
            if self.handle_buffers == "update" and buffer.is_floating_point():
                move(average, buffer, momentum)
            else:
                average.copy_(buffer)


def move(average: torch.Tensor, value: torch.Tensor, momentum: float) -> None:
    """Move an average towards a value, in place."""
    average.mul_(1.0 - momentum).add_(value.detach(), alpha=momentum)
