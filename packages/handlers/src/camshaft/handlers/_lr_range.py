"""Find a learning rate: raise it from tiny to huge and watch the loss."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from camshaft.engine import ArgumentError, Engine, Events, as_integer
from camshaft.handlers._errors import NoLearningRateError
from camshaft.handlers._extra import import_extra
from camshaft.handlers._learning_curve import make_axes
from camshaft.handlers._number import is_tensor, to_number
from camshaft.handlers._restored import restored, restored_generators
from camshaft.handlers._value_reader import AnyEngine


class LRCurve(NamedTuple):
    """The loss over the learning rate.

    Attributes:
        lrs: the learning rates that were tried, those of the optimizer's first parameter group.
        losses: the loss at each of them.
        smoothed: the running average of the losses.
    """

    lrs: list[float]
    losses: list[float]
    smoothed: list[float]

    @property
    def suggestion(self) -> float:
        """The learning rate at which the smoothed loss falls fastest.

        Raises:
            NoLearningRateError: the loss never falls; the text says what to try.
        """
        found = suggest(self.lrs, self.smoothed)
        if found is None:
            raise NoLearningRateError(self._explain())
        return found

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the curve, and the suggestion if there is one.

        Args:
            path: the image file to write; its suffix decides the format.

        Raises:
            ExtraMissingError: matplotlib is not installed; the extra is camshaft-handlers[plot].
            NoLearningRateError: there is no loss to draw.
        """
        (axis,) = make_axes(1, "LRCurve.plot")
        if not self.losses:
            raise NoLearningRateError(self._explain())
        axis.set_xscale("log")
        axis.plot(self.lrs, self.losses, alpha=0.3)
        axis.plot(self.lrs, self.smoothed, color="C0")
        suggestion = suggest(self.lrs, self.smoothed)
        if suggestion is not None:
            axis.axvline(suggestion, color="C1", linestyle="--", label=f"{suggestion:.2g}")
            axis.legend(title="suggestion")
        # The last losses before the end may be a million times the others.
        low, high = min(self.smoothed), self.smoothed[0]
        if low < high:
            axis.set_ylim(low - 0.3 * (high - low), high + 0.7 * (high - low))
        axis.set(xlabel="learning rate", title="loss")
        axis.figure.savefig(path)

    def _explain(self) -> str:
        if not self.losses:
            return "no learning rate was found: the first loss is not finite; lower `start_lr`, or check data and model"
        tried = f"no learning rate was found: the loss never falls from {self.lrs[0]:g} to {self.lrs[-1]:g}"
        if self.smoothed[-1] > self.smoothed[0]:
            return f"{tried}, it rises; lower `start_lr`"
        return f"{tried}; raise `end_lr` or `iterations`, and check that the optimizer has the model's parameters"


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

    The learning rate grows by the same factor in each iteration, in all parameter groups. A separate engine runs
    the trainer's step, so none of the trainer's handlers is called and its state does not change. Afterwards the
    model (modes and gradients included), the optimizer, `others` and the random number generators of Python, numpy
    and torch are exactly as they were. Only an iterator passed as `data` cannot be put back.

    Args:
        trainer: the engine whose process function makes a training step.
        data: batches; they start again when there are fewer than `iterations`.
        model: the module that is trained.
        optimizer: the optimizer that trains it.
        *others: what else a step changes and must be put back: objects with `state_dict` and `load_state_dict`,
            such as a gradient scaler.
        start_lr: the first learning rate, above 0.
        end_lr: the last learning rate, above `start_lr`.
        iterations: the most iterations to run, at least 2.
        output_transform: `f(output)` returns the loss: a number, or a tensor with one element.
        smoothing: share of the running average that stays when a new loss comes in; at least 0, below 1.
        stop_factor: the test ends early once the smoothed loss is more than this many times the smallest one;
            above 1. It also ends before a loss that is not finite.

    Returns:
        The curve; its `suggestion` is the learning rate to try.

    Raises:
        ArgumentError: an argument is out of its range.
        ExtraMissingError: torch is not installed; the extra is camshaft-handlers[torch].

    Sources:
        L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, section 3.3.
    """
    if not 0 < start_lr < end_lr:
        raise ArgumentError(f"`start_lr` must be above 0 and below `end_lr`, got {start_lr!r} and {end_lr!r}")
    if not 0 <= smoothing < 1:
        raise ArgumentError(f"`smoothing` must be at least 0 and below 1, got {smoothing!r}")
    if not stop_factor > 1:
        raise ArgumentError(f"`stop_factor` must be above 1, got {stop_factor!r}")
    count = as_integer("iterations", iterations, least=2)
    import_extra("torch", "torch", "lr_range_test")
    engine = Engine(trainer.process_function)
    sweep = _Sweep(optimizer, start_lr, (end_lr / start_lr) ** (1 / (count - 1)), smoothing, stop_factor)
    engine.add_event_handler(Events.ITERATION_STARTED, sweep.set_lr)
    engine.add_event_handler(Events.ITERATION_COMPLETED, sweep.record_loss, output_transform)
    with restored_generators(model), restored(model, optimizer, *others):
        engine.run(data, max_iters=count)
    return LRCurve(sweep.lrs, sweep.losses, sweep.smoothed)


class _Sweep:
    """One pass through the learning rates: sets them and records the losses."""

    def __init__(self, optimizer: Any, start_lr: float, growth: float, smoothing: float, stop_factor: float) -> None:
        self._optimizer = optimizer
        first = float(optimizer.param_groups[0]["lr"]) or 1.0
        self._ratios = [float(group["lr"]) / first for group in optimizer.param_groups]
        self._start_lr, self._growth = start_lr, growth
        self._smoothing, self._stop_factor = smoothing, stop_factor
        self._average = 0.0
        self.lrs: list[float] = []
        self.losses: list[float] = []
        self.smoothed: list[float] = []

    def set_lr(self, engine: AnyEngine) -> None:
        lr = self._start_lr * self._growth ** (engine.state.iteration - 1)
        self.lrs.append(lr)
        for group, ratio in zip(self._optimizer.param_groups, self._ratios, strict=True):
            if is_tensor(group["lr"]):
                group["lr"].fill_(lr * ratio)
            else:
                group["lr"] = lr * ratio

    def record_loss(self, engine: AnyEngine, output_transform: Callable[[Any], Any]) -> None:
        loss = to_number(output_transform(engine.state.output))
        if not math.isfinite(loss):
            self.lrs.pop()
            engine.terminate()
            return
        self.losses.append(loss)
        self._average = self._smoothing * self._average + (1 - self._smoothing) * loss
        # The average started at 0; dividing takes out the weight of that start.
        self.smoothed.append(self._average / (1 - self._smoothing ** len(self.losses)))
        best = min(self.smoothed)
        if self.smoothed[-1] - best > (self._stop_factor - 1) * abs(best):
            engine.terminate()


def suggest(lrs: Sequence[float], smoothed: Sequence[float]) -> float | None:
    """Return the learning rate around which the loss falls most, None when it never falls.

    The fall is measured over a tenth of the curve, up to its lowest point. The first tenth of the curve is left
    out: the average is still noisy there.

    Args:
        lrs: the learning rates, ascending.
        smoothed: the smoothed loss at each of them.

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
