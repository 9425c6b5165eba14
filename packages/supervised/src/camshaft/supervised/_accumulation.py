"""Gradient accumulation: several iterations share one optimizer step.

An epoch is divided into windows of `steps` iterations, counted from its start. The last window has the iterations
that are left over. Each loss is divided by the length of its window and the window ends with one optimizer step, so
a window counts as one large batch.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from camshaft.engine import Engine, Events, as_integer
from camshaft.supervised._gradient_exchange import GradientExchange

if TYPE_CHECKING:
    import torch

    from camshaft.supervised._optimizer_step import OptimizerStep

AnyEngine = Engine[Any, Any]
Step = Callable[[AnyEngine, Any], Any]


@dataclass(frozen=True, slots=True)  # read in each iteration, and faster to read than a named tuple
class MicroBatch:
    """The place of an iteration in its window.

    Attributes:
        is_first: the gradients start from zero.
        is_last: the optimizer steps afterwards.
        window_length: iterations in the window, as far as known; the loss is divided by it.
    """

    is_first: bool
    is_last: bool
    window_length: int


ONLY = MicroBatch(is_first=True, is_last=True, window_length=1)


def window_length(steps: int, done: int, epoch_length: int | None) -> int:
    """Return how many iterations a window has that starts after `done` iterations of an epoch.

    Args:
        steps: iterations in a full window; at least 1.
        done: iterations of the epoch before the window. A window can also start inside the range of another one,
            since the gradients of a stopped run are lost; it then ends where that one would have ended.
        epoch_length: iterations in the epoch, None while unknown.

    Examples:
        >>> [window_length(4, done, epoch_length=10) for done in (0, 4, 8)]
        [4, 4, 2]
    """
    length = steps - done % steps
    return length if epoch_length is None else max(1, min(length, epoch_length - done))


class Window:
    """The current window: its length, and how many of its iterations are in the gradients.

    Gradients are never saved. So a window continues only with the very next iteration. Anything else starts a new
    window: a new run, a loaded state, or an iteration that failed and may have left some of its gradients.

    Args:
        steps: iterations in a full window; at least 1.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._length = steps
        self._done = 0
        self._iteration = 0
        self._next_iteration: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the gradients hold iterations that no optimizer step has used yet."""
        return self._done > 0

    def begin_iteration(self, iteration: int, epoch_iteration: int, epoch_length: int | None) -> MicroBatch:
        """Return the place of the iteration that starts now.

        Args:
            iteration: iterations done in the run before this one.
            epoch_iteration: iterations done in the epoch before this one.
            epoch_length: iterations in the epoch, None while unknown.
        """
        self.drop_unless_next(iteration)
        if not self._done:
            self._length = window_length(self.steps, epoch_iteration, epoch_length)
        # If this iteration fails, its gradients are incomplete and the window does not continue.
        self._iteration, self._next_iteration = iteration, None
        return MicroBatch(self._done == 0, self._done + 1 == self._length, self._length)

    def complete_iteration(self) -> None:
        """Count the iteration that began last: its gradients are complete."""
        self._done += 1
        self._next_iteration = self._iteration + 1
        if self._done == self._length:
            self._done = 0

    def drop(self) -> None:
        """Forget an open window: its gradients are not to be used."""
        self._done = 0

    def drop_unless_next(self, iteration: int) -> None:
        """Forget an open window unless it continues after `iteration` iterations of the run."""
        if iteration != self._next_iteration:
            self._done = 0

    def close_early(self) -> float | None:
        """Close the window because the epoch ended before it did.

        Returns:
            The factor for the gradients that gives the window the weight of its true length; None when no window
            is open.
        """
        if not self._done:
            return None
        factor = self._length / self._done
        self._done = 0
        return factor


class GradientAccumulation:
    """Accumulates gradients on an engine: one optimizer step per window.

    Args:
        steps: iterations that share an optimizer step; at least 2.
        model: what it shares with other processes is exchanged once per window.
        optimizer_step: what ends a window.
    """

    def __init__(self, steps: int, model: torch.nn.Module, optimizer_step: OptimizerStep) -> None:
        self._window = Window(steps)
        self._optimizer_step = optimizer_step
        always = optimizer_step.backend.exchanges_always
        self._exchange = GradientExchange(model, optimizer_step.parameters, every_iteration=always)
        self._engines: weakref.WeakSet[AnyEngine] = weakref.WeakSet()
        self._current: Callable[[], AnyEngine | None] = lambda: None  # the engine that the window belongs to
        self._epoch_start = 0  # iterations of the run before the current epoch

    def attach(self, engine: AnyEngine) -> None:
        """Step at the end of an epoch what its last window holds, and let checkpoints wait for the end of a window."""
        self._engines.add(engine)
        engine.hold_safe_points(lambda: self._window.is_open)
        engine.add_event_handler(Events.STARTED, self._locate)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.TERMINATE_SINGLE_EPOCH | Events.EPOCH_COMPLETED, self._step_early)

    def wrap(self, training_step: Callable[[AnyEngine, Any, MicroBatch], Any]) -> Step:
        """Return the step `f(engine, batch)` that accumulates.

        Args:
            training_step: `f(engine, batch, micro_batch)`, which is told the place in the window.
        """

        def accumulating_step(engine: AnyEngine, batch: Any) -> Any:
            micro_batch = self._begin(engine)
            self._optimizer_step.backend.announce(micro_batch.is_last)
            if micro_batch.is_first:
                self._exchange.forget()
            with nullcontext() if micro_batch.is_last else self._exchange.postponed():
                output = training_step(engine, batch, micro_batch)
            if micro_batch.is_last:
                self._exchange.settled()
            self._window.complete_iteration()
            return output

        return accumulating_step

    def _begin(self, engine: AnyEngine) -> MicroBatch:
        if self._current() is not engine:
            self._locate(engine)
        state = engine.state
        done = state.iteration - 1
        return self._window.begin_iteration(done, done - self._epoch_start, state.epoch_length)

    def _locate(self, engine: AnyEngine) -> None:
        """Continue or drop the window, now that a run of this engine starts or continues."""
        if engine not in self._engines:
            self.attach(engine)
        position = engine.position
        self._epoch_start = position.iteration - position.epoch_iteration
        if self._current() is not engine:
            self._current = weakref.ref(engine)
            self._window.drop()
        self._window.drop_unless_next(position.iteration)

    def _start_epoch(self, engine: AnyEngine) -> None:
        self._epoch_start = engine.state.iteration

    def _step_early(self) -> None:
        factor = self._window.close_early()
        if factor is not None:
            self._exchange.catch_up()
            self._optimizer_step(factor)


def make_accumulation(steps: int, model: torch.nn.Module, optimizer_step: OptimizerStep) -> GradientAccumulation | None:
    """Return the accumulation over `steps` iterations, None when the optimizer steps in each of them.

    Args:
        steps: as given for `gradient_accumulation_steps`.
        model: the model that is trained.
        optimizer_step: what ends a window.

    Raises:
        ArgumentError: `steps` is not an integer of at least 1.
    """
    count = as_integer("gradient_accumulation_steps", steps, least=1)
    return None if count == 1 else GradientAccumulation(count, model, optimizer_step)
