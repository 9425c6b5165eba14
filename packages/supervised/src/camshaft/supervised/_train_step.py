"""The training step: one function for every precision, backend and accumulation."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, Events
from camshaft.supervised._accumulation import WHOLE, Share, Window

if TYPE_CHECKING:
    from camshaft.supervised._precision import Forward, Passes
    from camshaft.supervised._prediction import Prediction

AnyEngine = Engine[Any, Any]
Step = Callable[[AnyEngine, Any], Any]


@dataclass(frozen=True, slots=True)
class Update:
    """How gradients become new parameters.

    Attributes:
        optimizer: owns the parameters.
        passes: backward pass, true gradients, optimizer step.
        clip_norm: largest norm of all gradients together, None for any.
        clip_value: largest size of any one gradient, None for any.
    """

    optimizer: torch.optim.Optimizer
    passes: Passes
    clip_norm: float | None = None
    clip_value: float | None = None

    def __post_init__(self) -> None:
        for name, limit in (("clip_grad_norm", self.clip_norm), ("clip_grad_value", self.clip_value)):
            if limit is None:
                continue
            if isinstance(limit, bool) or not isinstance(limit, Real):
                raise ArgumentTypeError(f"`{name}` must be a number, got {limit!r}; None clips nothing")
            if not limit > 0:
                raise ArgumentError(f"`{name}` must be above 0, got {limit!r}; None clips nothing")

    @property
    def clips(self) -> bool:
        """Whether gradients are clipped."""
        return self.clip_norm is not None or self.clip_value is not None

    def __call__(self, factor: float = 1.0) -> None:
        """Let the optimizer use the gradients, multiplied with `factor` and clipped."""
        if factor != 1.0 or self.clips:
            self.passes.unscale()
            self._adjust(factor)
        self.passes.step()

    def _adjust(self, factor: float) -> None:
        parameters = list(self.parameters())
        if factor != 1.0:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm)
        if self.clip_value is not None:
            torch.nn.utils.clip_grad_value_(parameters, self.clip_value)

    def parameters(self) -> Iterator[torch.Tensor]:
        """Yield what the optimizer updates."""
        return (parameter for group in self.optimizer.param_groups for parameter in group["params"])


class Accumulation:
    """Gradient accumulation on an engine: one optimizer step for several iterations.

    Args:
        steps: iterations that share an optimizer step.
        model: asked for `no_sync`, which keeps replicas from exchanging gradients too early.
        update: the optimizer step.
    """

    def __init__(self, steps: int, model: torch.nn.Module, update: Update) -> None:
        self._window = Window(steps)
        self._model = model
        self._update = update
        self._engines: weakref.WeakSet[AnyEngine] = weakref.WeakSet()
        self._epoch_start = 0  # iterations of the run before the current epoch
        self._without_exchange: Callable[[], AbstractContextManager[Any]] = getattr(model, "no_sync", nullcontext)

    def attach(self, engine: AnyEngine) -> None:
        """Step at the end of each epoch what its last window holds, and keep safe points out of windows."""
        self._engines.add(engine)
        self._locate(engine)
        engine.hold_safe_points(lambda: self._window.is_open)
        engine.add_event_handler(Events.STARTED, self._locate)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.TERMINATE_SINGLE_EPOCH | Events.EPOCH_COMPLETED, self._step_early)

    def wrap(self, training_step: Callable[[AnyEngine, Any, Share], Any]) -> Step:
        """Return the step that does its share of a window."""

        def accumulating_step(engine: AnyEngine, batch: Any) -> Any:
            share = self._enter(engine)
            with nullcontext() if share.closes else self._without_exchange():
                output = training_step(engine, batch, share)
            self._window.leave()
            return output

        return accumulating_step

    def _enter(self, engine: AnyEngine) -> Share:
        if engine not in self._engines:
            self.attach(engine)
        state = engine.state
        done = state.iteration - 1
        return self._window.enter(done, done - self._epoch_start, state.epoch_length)

    def _locate(self, engine: AnyEngine) -> None:
        position = engine.position
        self._epoch_start = position.iteration - position.epoch_iteration
        self._window.forget_unless_next(position.iteration)

    def _start_epoch(self, engine: AnyEngine) -> None:
        self._epoch_start = engine.state.iteration

    def _step_early(self) -> None:
        factor = self._window.close_early()
        if factor is not None:
            self._exchange_gradients()
            self._update(factor)

    def _exchange_gradients(self) -> None:
        # Every iteration of this window ran without the exchange that its last one would have made.
        if isinstance(self._model, torch.nn.parallel.DistributedDataParallel):
            group = self._model.process_group
            for parameter in self._update.parameters():
                if parameter.grad is not None:
                    torch.distributed.all_reduce(parameter.grad, group=group)
                    parameter.grad.div_(torch.distributed.get_world_size(group))


def make_accumulation(steps: int, model: torch.nn.Module, update: Update) -> Accumulation | None:
    """Return the accumulation over `steps` iterations, None when each iteration steps.

    Raises:
        ArgumentTypeError: `steps` is not an integer.
        ArgumentError: `steps` is below 1.
    """
    try:
        count = None if isinstance(steps, bool) else range(steps).stop
    except TypeError:
        count = None
    if count is None:
        raise ArgumentTypeError(f"`gradient_accumulation_steps` must be an integer, got {steps!r}")
    if count < 1:
        raise ArgumentError(f"`gradient_accumulation_steps` must be at least 1, got {steps!r}; 1 accumulates nothing")
    return None if count == 1 else Accumulation(count, model, update)


def detached_loss(x: Any, y: Any, y_pred: Any, loss: torch.Tensor) -> torch.Tensor:
    """Return the loss alone, without its graph and without waiting for the device: the default output."""
    return loss.detach()


def make_training_step(
    prediction: Prediction,
    forward: Forward,
    loss_fn: Callable[[Any, Any], torch.Tensor],
    update: Update,
    output_transform: Callable[[Any, Any, Any, Any], Any],
    accumulation: Accumulation | None,
) -> Step:
    """Return the function that does one iteration of training.

    Everything that can be settled is settled here: the step itself only computes.
    """
    model, split, predict = prediction.model, prediction.split(), prediction.predict()
    optimizer, backward = update.optimizer, update.passes.backward
    use_gradients = update if update.clips else update.passes.step

    @forward
    def measure(x: Any, y: Any) -> tuple[Any, torch.Tensor]:
        y_pred = predict(x)
        return y_pred, loss_fn(y_pred, y)

    graph: torch.Tensor | None = None

    def training_step(engine: AnyEngine, batch: Any, share: Share = WHOLE) -> Any:
        nonlocal graph
        opens, closes, length = share
        if opens:
            optimizer.zero_grad()
        # Only when needed: it walks over all submodules, and frozen ones are meant to stay frozen.
        if not model.training:
            model.train()
        x, y = split(batch)
        y_pred, loss = measure(x, y)
        backward(loss if length == 1 else loss / length)
        # The graph before goes only now, as in a loop by hand: its leaves, slow to make, served in this one too.
        # The tensors that a graph saves go with its backward pass.
        graph = loss
        if closes:
            use_gradients()
        return output_transform(x, y, y_pred, loss)

    return training_step if accumulation is None else accumulation.wrap(training_step)
