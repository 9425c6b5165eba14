"""Keep an exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

from camshaft.engine import ArgumentError, CallableEventWithFilter, Events, EventsList
from camshaft.handlers._extra import import_extra
from camshaft.handlers._reading import AnyEngine
from camshaft.handlers.checkpoint._objects import unwrap


class ExponentialMovingAverage:
    """Averages the weights of a model while it is trained, with `torch.optim.swa_utils.AveragedModel`.

    The first update copies the weights; each later one keeps the share `decay` of the average. Its state
    is that of the averaged model, so it is saved and restored with the run.

    Args:
        model: the model in training, which may be wrapped for several devices or compiled.
        decay: share of the average that stays at an update; from 0 to 1.
        use_buffers: whether buffers (the statistics of normalization layers, say) are averaged too;
            else they are copied.

    Raises:
        ArgumentError: `decay` is out of its range.
        ExtraMissingError: torch is not installed; the extra is camshaft-handlers[torch].
    """

    def __init__(self, model: Any, decay: float = 0.999, *, use_buffers: bool = True) -> None:
        if not 0 <= decay <= 1:
            raise ArgumentError(f"`decay` must be from 0 to 1, got {decay!r}")
        averaging = import_extra("torch.optim.swa_utils", "torch", "ExponentialMovingAverage")
        self._model = unwrap(model)
        self._averaged = averaging.AveragedModel(
            self._model, multi_avg_fn=averaging.get_ema_multi_avg_fn(decay), use_buffers=use_buffers
        ).requires_grad_(False)
        self._own_weights: list[Any] | None = None

    @property
    def module(self) -> Any:
        """The model with the averaged weights: a copy, to be evaluated or saved by itself."""
        return self._averaged.module

    def attach(
        self, engine: AnyEngine, event: CallableEventWithFilter | EventsList = Events.ITERATION_COMPLETED
    ) -> None:
        """Take in the weights at an event of the trainer."""
        engine.add_event_handler(event, self)

    def attach_to_evaluator(self, evaluator: AnyEngine) -> None:
        """Let each run of an evaluator see the averaged weights in the model, and put its own back at the end.

        However the run ends. What is attached to the evaluator's start before this sees the model's own weights,
        and so does what is attached to its end after it.
        """
        evaluator.add_event_handler(Events.STARTED | Events.ITERATION_STARTED, self._put_in)
        ends = Events.COMPLETED | Events.TERMINATE | Events.INTERRUPT | Events.EXCEPTION_RAISED
        evaluator.add_event_handler(ends, self._put_back)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the model have the averaged weights inside a `with` block, and its own behind it."""
        self._put_in()
        try:
            yield
        finally:
            self._put_back()

    def __call__(self, *_: Any) -> None:
        """Take in the weights now."""
        self._averaged.update_parameters(self._model)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and how often they were updated."""
        return dict(self._averaged.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self._averaged.load_state_dict(state_dict)

    def _put_in(self) -> None:
        # Before the first update there is nothing but the weights from when this was made.
        if self._own_weights is None and self._averaged.n_averaged > 0:
            self._own_weights = [own.detach().clone() for own in _tensors(self._model)]
            _copy(_tensors(self.module), _tensors(self._model))

    def _put_back(self) -> None:
        if self._own_weights is not None:
            _copy(self._own_weights, _tensors(self._model))
            self._own_weights = None


def _tensors(module: Any) -> list[Any]:
    return list(chain(module.parameters(), module.buffers()))


def _copy(sources: list[Any], targets: list[Any]) -> None:
    # In place: an optimizer, a compiled model and a captured graph keep hold of the same memory.
    for source, target in zip(sources, targets, strict=True):
        target.detach().copy_(source)
