"""Let a scheduler of torch change the learning rate at events."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from camshaft.engine import (
    ArgumentTypeError,
    CallableEventWithFilter,
    EngineWarning,
    Events,
    EventsList,
    StateDictError,
    as_integer,
)
from camshaft.handlers._extra import import_extra
from camshaft.handlers._number import is_number
from camshaft.handlers._value_reader import AnyEngine

BEFORE_THE_STEP = {
    Events.STARTED, Events.EPOCH_STARTED, Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED,
    Events.ITERATION_STARTED,
}  # fmt: skip


class LRScheduler:
    """Steps a scheduler of `torch.optim.lr_scheduler` per iteration or per epoch.

    Its state is that of the scheduler, so you may save either of the two.

    Args:
        scheduler: anything with `step`, `state_dict` and `load_state_dict`.
        metric: `metric(engine)` returns the argument for the scheduler's `step`, which `ReduceLROnPlateau` needs.
            None calls `step()` without one.

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
        """Step the scheduler at an event.

        Args:
            engine: the trainer.
            event: ITERATION_COMPLETED, or EPOCH_COMPLETED for a scheduler that counts epochs. If gradients are
                accumulated over n iterations, `Events.ITERATION_COMPLETED(every=n)`.

        Warns:
            EngineWarning: the event comes before the optimizer's step, so that the first learning rate is never used.
        """
        for each in event if isinstance(event, EventsList) else (event,):
            if each in BEFORE_THE_STEP:
                warnings.warn(
                    f"a scheduler attached to {each.name} steps before the optimizer does: the first learning rate is "
                    "never used, and each one comes a step early; attach it to ITERATION_COMPLETED or EPOCH_COMPLETED",
                    EngineWarning,
                    stacklevel=2,
                )
        engine.add_event_handler(event, self)

    def __call__(self, engine: AnyEngine, *_: Any) -> None:
        """Step the scheduler now.

        Args:
            engine: what `metric` reads.
        """
        if self._metric is None:
            self.scheduler.step()
        else:
            self.scheduler.step(self._metric(engine))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the scheduler."""
        return dict(self.scheduler.state_dict())

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Args:
            state_dict: the state of this handler, or of the scheduler.

        Raises:
            StateDictError: it is the state of another kind of scheduler, or of one of pytorch-ignite; nothing is
                changed then.
        """
        if not isinstance(state_dict, Mapping):
            raise StateDictError(f"`state_dict` must be a mapping, got {state_dict!r}")
        if "event_index" in state_dict:
            raise StateDictError(
                "`state_dict` must be that of a scheduler of torch, got one of pytorch-ignite, which sets the "
                "learning rate at another moment; load it into the scheduler of camshaft-ignite-compat"
            )
        own = self.scheduler.state_dict()
        if isinstance(own, Mapping) and (misfit := _find_misfit(own, state_dict)) is not None:
            raise StateDictError(f"`state_dict` must be that of a {type(self.scheduler).__name__} like this, {misfit}")
        own = copy.deepcopy(own)
        try:
            self.scheduler.load_state_dict(dict(state_dict))
        except Exception as error:
            self.scheduler.load_state_dict(own)
            raise StateDictError(
                f"`state_dict` must be that of a {type(self.scheduler).__name__}, which refuses it: {error}"
            ) from error


def with_warmup(scheduler: Any, steps: int, start_factor: float = 0.01) -> Any:
    """Put a linear warm-up before a scheduler that has not stepped yet.

    Args:
        scheduler: a scheduler of `torch.optim.lr_scheduler`; it takes over after `steps` steps.
        steps: steps until the learning rate reaches the one that the optimizer was made with; at least 1.
        start_factor: the first learning rate as a share of that one; above 0, at most 1.

    Returns:
        A `SequentialLR` of a `LinearLR` and `scheduler`.

    Raises:
        ArgumentError: `steps` is out of its range.
        ExtraMissingError: torch is not installed; the extra is camshaft-handlers[torch].
    """
    count = as_integer("steps", steps, least=1)
    schedulers = import_extra("torch.optim.lr_scheduler", "torch", "with_warmup")
    warmup = schedulers.LinearLR(scheduler.optimizer, start_factor=start_factor, total_iters=count)
    return schedulers.SequentialLR(scheduler.optimizer, [warmup, scheduler], milestones=[count])


def _find_misfit(own: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    """Return what shows that a state is not of the same kind of scheduler, None when nothing does."""
    if missing := sorted(_public_keys(own) - _public_keys(given)):
        return f"got one without {missing[0]!r}"
    if unknown := sorted(_public_keys(given) - _public_keys(own)):
        return f"got one with {unknown[0]!r}"
    for key, value in own.items():
        if key not in given:  # private entries differ from one version of torch to the next
            continue
        if is_number(value) and not is_number(given[key]):
            return f"got {given[key]!r} for {key!r}, which is a number"
        if key in ("base_lrs", "_schedulers") and len(given[key]) != len(value):
            return f"got {len(given[key])} entries in {key!r} instead of {len(value)}"
        if key == "_schedulers":  # those that a scheduler is made of
            misfits = [_find_misfit(*pair) for pair in zip(value, given[key], strict=True)]
            if any(misfits):
                return next(filter(None, misfits))
    return None


def _public_keys(state: Mapping[str, Any]) -> set[str]:
    return {key for key in state if not str(key).startswith("_") and key != "verbose"}
