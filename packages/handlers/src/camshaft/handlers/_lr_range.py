"""Find a learning rate: raise it from tiny to huge and watch the loss."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from camshaft.engine import ArgumentError, Engine, Events
from camshaft.handlers._extra import import_extra
from camshaft.handlers._learning_curve import make_axes
from camshaft.handlers._number import is_integer, to_number
from camshaft.handlers._reading import AnyEngine


class LRCurve(NamedTuple):
    """The loss over the learning rate.

    Attributes:
        lrs: the learning rates that were tried, of the optimizer's first group.
        losses: the loss at each.
        smoothed: a running average of these.
        suggestion: the learning rate at which the smoothed loss falls fastest; None when it never falls.
    """

    lrs: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the curve, with the suggestion marked.

        Raises:
            ExtraMissingError: matplotlib is not installed; the extra is camshaft-handlers[plot].
        """
        (axis,) = make_axes(1, "LRCurve.plot")
        axis.set_xscale("log")
        axis.plot(self.lrs, self.losses, alpha=0.3)
        axis.plot(self.lrs, self.smoothed, color="C0")
        if self.suggestion is not None:
            axis.axvline(self.suggestion, color="C1", linestyle="--", label=f"{self.suggestion:.2g}")
            axis.legend(title="suggestion")
        # The last losses, before it was stopped, may be a million times the others.
        low, high = min(self.smoothed), self.smoothed[0]
        axis.set_ylim(low - 0.3 * (high - low), high + 0.7 * (high - low))
        axis.set(xlabel="learning rate", title="loss")
        axis.figure.savefig(path)


def lr_range_test(
    trainer: AnyEngine,
    data: Any,
    model: Any,
    optimizer: Any,
    *others: Any,
    start_lr: float = 1e-6,
    end_lr: float = 10.0,
    iterations: int = 100,
    output_transform: Callable[[Any], Any] = lambda output: output,
    smoothing: float = 0.9,
    stop_factor: float = 4.0,
) -> LRCurve:
    """Train for a while with a growing learning rate, then put everything back.

    The learning rate grows by the same factor in each iteration, in all groups of the optimizer. The step
    of `trainer` is run by an engine of its own: none of the trainer's handlers is called, and its state
    stays. Behind it the model (its modes and gradients included), the optimizer, `others` and torch's
    random numbers are as they were before.

    Args:
        trainer: the engine whose process function makes a training step.
        data: batches; they start again when there are too few.
        model: the model that is trained.
        optimizer: its optimizer.
        *others: what else a step changes, with `state_dict` and `load_state_dict`: a scaler, say.
        start_lr: the first learning rate, above 0.
        end_lr: the last one, above the first.
        iterations: how many steps there are from one to the other; at least 2.
        output_transform: makes the loss from the step's output.
        smoothing: share of the running average of the loss that stays when a loss comes in.
        stop_factor: it ends early once the smoothed loss is so many times the smallest one, or is not finite.

    Returns:
        The curve with a suggestion.

    Raises:
        ArgumentError: an argument is out of its range.
        ExtraMissingError: torch is not installed; the extra is camshaft-handlers[torch].

    Sources:
        L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3.
    """
    if not 0 < start_lr < end_lr:
        raise ArgumentError(f"`start_lr` must be above 0 and below `end_lr`, got {start_lr!r} and {end_lr!r}")
    if not is_integer(iterations) or iterations < 2:
        raise ArgumentError(f"`iterations` must be an integer of at least 2, got {iterations!r}")
    random = import_extra("torch.random", "torch", "lr_range_test")
    engine = Engine(trainer.process_function)
    sweep = _Sweep(optimizer, start_lr, (end_lr / start_lr) ** (1 / (iterations - 1)), smoothing, stop_factor)
    engine.add_event_handler(Events.ITERATION_STARTED, sweep.raise_lr)
    engine.add_event_handler(Events.ITERATION_COMPLETED, sweep.note, output_transform)
    gpus = {parameter.device.index for parameter in model.parameters() if parameter.device.type == "cuda"}
    with random.fork_rng(devices=sorted(gpus)), put_back(model, optimizer, *others):
        engine.run(data, max_iters=iterations)
    return LRCurve(sweep.lrs, sweep.losses, sweep.smoothed, suggest(sweep.lrs, sweep.smoothed))


class _Sweep:
    """One way through the learning rates: sets them and notes the losses."""

    def __init__(self, optimizer: Any, start_lr: float, growth: float, smoothing: float, stop_factor: float) -> None:
        self._optimizer = optimizer
        first = float(optimizer.param_groups[0]["lr"]) or 1.0
        self._shares = [float(group["lr"]) / first for group in optimizer.param_groups]
        self._start_lr, self._growth = start_lr, growth
        self._smoothing, self._stop_factor = smoothing, stop_factor
        self._average = 0.0
        self.lrs: list[float] = []
        self.losses: list[float] = []
        self.smoothed: list[float] = []

    def raise_lr(self, engine: AnyEngine) -> None:
        lr = self._start_lr * self._growth ** (engine.state.iteration - 1)
        self.lrs.append(lr)
        for group, share in zip(self._optimizer.param_groups, self._shares, strict=True):
            group["lr"] = lr * share

    def note(self, engine: AnyEngine, output_transform: Callable[[Any], Any]) -> None:
        loss = to_number(output_transform(engine.state.output))
        if not math.isfinite(loss):
            self.lrs.pop()
            engine.terminate()
            return
        self.losses.append(loss)
        self._average = self._smoothing * self._average + (1 - self._smoothing) * loss
        # The average began at 0: the weight of that is taken out.
        self.smoothed.append(self._average / (1 - self._smoothing ** len(self.losses)))
        best = min(self.smoothed)
        if self.smoothed[-1] - best > (self._stop_factor - 1) * abs(best):
            engine.terminate()


def suggest(lrs: Sequence[float], smoothed: Sequence[float]) -> float | None:
    """Return the learning rate around which the loss falls most, None when it never falls.

    Looked at are windows of a tenth of the curve up to its lowest point; not in its first tenth, where the
    average is still noise.

    Examples:
        >>> suggest([0.001, 0.01, 0.1, 1.0, 10.0], [2.3, 2.2, 1.5, 0.6, 4.0])
        0.1
    """
    reach = max(1, len(lrs) // 20)
    lowest = min(range(len(smoothed)), key=smoothed.__getitem__, default=0)
    changes = {
        place: smoothed[place + reach] - smoothed[place - reach]
        for place in range(max(reach, len(lrs) // 10), lowest - reach + 1)
    }
    steepest = min(changes, key=changes.__getitem__, default=None)
    return lrs[steepest] if steepest is not None and changes[steepest] < 0 else None


@contextmanager
def put_back(model: Any, *others: Any) -> Iterator[None]:
    """Leave a model, its modes and gradients, and what else has a state, as they were before the block."""
    saved = [(each, copy.deepcopy(each.state_dict())) for each in (model, *others)]
    modes = [(module, module.training) for module in model.modules()]
    gradients = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None
    try:
        yield
    finally:
        for each, state in saved:
            each.load_state_dict(state)
        for module, training in modes:
            module.training = training
        for parameter, gradient in gradients:
            parameter.grad = gradient
