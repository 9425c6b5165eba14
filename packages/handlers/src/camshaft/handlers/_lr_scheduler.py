"""Let a scheduler of torch change the learning rate at events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camshaft.engine import ArgumentTypeError, CallableEventWithFilter, Events, EventsList
from camshaft.handlers._extra import import_extra
from camshaft.handlers._reading import AnyEngine


class LRScheduler:
    """Steps a scheduler of `torch.optim.lr_scheduler`, per iteration or per epoch.

    Its state is the scheduler's, so either of the two may be saved.

    Args:
        scheduler: anything with `step`, `state_dict` and `load_state_dict`.
        metric: `metric(engine)` returns what the scheduler's `step` takes: for `ReduceLROnPlateau`.

    Raises:
        ArgumentTypeError: `scheduler` lacks one of these methods.
    """

    def __init__(self, scheduler: Any, metric: Callable[[AnyEngine], Any] | None = None) -> None:
        for method in ("step", "state_dict", "load_state_dict"):
            if not callable(getattr(scheduler, method, None)):
                raise ArgumentTypeError(f"`scheduler` must have a method {method!r}, got {scheduler!r}")
        self.scheduler = scheduler
        self._metric = metric

    def attach(
        self, engine: AnyEngine, event: CallableEventWithFilter | EventsList = Events.ITERATION_COMPLETED
    ) -> None:
        """Step the scheduler at an event: ITERATION_COMPLETED, or EPOCH_COMPLETED for one that counts epochs.

        With gradients that are accumulated over n iterations, `Events.ITERATION_COMPLETED(every=n)`.
        """
        engine.add_event_handler(event, self)

    def __call__(self, engine: AnyEngine, *_: Any) -> None:
        """Step the scheduler now."""
        if self._metric is None:
            self.scheduler.step()
        else:
            self.scheduler.step(self._metric(engine))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the scheduler."""
        return dict(self.scheduler.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.scheduler.load_state_dict(state_dict)


def with_warmup(scheduler: Any, steps: int, start_factor: float = 0.01) -> Any:
    """Put a linear warm-up in front of a scheduler that has made no step yet.

    Args:
        scheduler: of `torch.optim.lr_scheduler`; it takes over after `steps` steps.
        steps: steps until the learning rate is the optimizer's own.
        start_factor: the first learning rate, as a share of that; above 0, at most 1.

    Returns:
        A `SequentialLR` of a `LinearLR` and `scheduler`.

    Raises:
        ExtraMissingError: torch is not installed; the extra is camshaft-handlers[torch].
    """
    schedulers = import_extra("torch.optim.lr_scheduler", "torch", "with_warmup")
    warmup = schedulers.LinearLR(scheduler.optimizer, start_factor=start_factor, total_iters=steps)
    return schedulers.SequentialLR(scheduler.optimizer, [warmup, scheduler], milestones=[steps])
