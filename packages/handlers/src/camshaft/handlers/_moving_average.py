"""Keep an exponential moving average of a model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

from camshaft.engine import ArgumentError, CallableEventWithFilter, Events, EventsList, StateDictError
from camshaft.handlers._extra import import_extra
from camshaft.handlers._value_reader import AnyEngine
from camshaft.handlers.checkpoint._objects import unwrap


class ExponentialMovingAverage:
    """Averages the weights of a model during training, with `torch.optim.swa_utils.AveragedModel`.

    The first update copies the weights. Each later one is `average = decay * average + (1 - decay) * weights`. Save it
    with the run; its state is that of the averaged model.

    Args:
        model: the module that is trained. It may be wrapped for several devices, or compiled.
        decay: share of the average that stays at an update; from 0 to 1.
        use_buffers: whether buffers, such as the statistics of normalization layers, are averaged too; otherwise they
            are copied.

    Raises:
        ArgumentError: `decay` is out of its range.
        ExtraMissingError: torch is not installed; the extra is camshaft-handlers[torch].
    """

    def __init__(self, model: Any, decay: float = 0.999, *, use_buffers: bool = True) -> None:
        if not 0 <= decay <= 1:
            raise ArgumentError(f"`decay` must be from 0 to 1, got {decay!r}")
        averaging = import_extra("torch.optim.swa_utils", "torch", "ExponentialMovingAverage")
        self._model = unwrap(model)
        self._average = averaging.get_ema_multi_avg_fn(decay)
        self._use_buffers = use_buffers
        self._averaged = averaging.AveragedModel(
            self._model, multi_avg_fn=self._average, use_buffers=use_buffers
        ).requires_grad_(False)
        self._own_weights: list[Any] | None = None

    @property
    def module(self) -> Any:
        """A copy of the model with the averaged weights, to evaluate or to save by itself."""
        return self._averaged.module

    def attach(
        self, engine: AnyEngine, event: CallableEventWithFilter | EventsList = Events.ITERATION_COMPLETED
    ) -> None:
        """Update the average at an event of the trainer.

        Args:
            engine: the trainer.
            event: when to update. If gradients are accumulated over n iterations, ITERATION_COMPLETED(every=n).
        """
        engine.add_event_handler(event, self)

    def attach_to_evaluator(self, evaluator: AnyEngine) -> None:
        """Let the model have the averaged weights in each run of an evaluator.

        The model gets its own weights back whichever way the run ends. Handlers of the evaluator's STARTED that were
        attached before this see its own weights, and so do handlers of its end that are attached after this.

        Args:
            evaluator: the engine that evaluates the model.
        """
        evaluator.add_event_handler(Events.STARTED | Events.ITERATION_STARTED, self._put_in)
        ends = Events.COMPLETED | Events.TERMINATE | Events.INTERRUPT | Events.EXCEPTION_RAISED
        evaluator.add_event_handler(ends, self._put_back)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let the model have the averaged weights inside a `with` block, and its own weights afterwards."""
        self._put_in()
        try:
            yield
        finally:
            self._put_back()

    def __call__(self, *_: Any) -> None:
        """Update the average now; this does not wait for the device."""
        if self._averaged.n_averaged == 0:
            self._averaged.update_parameters(self._model)  # copies
            return
        # `update_parameters` would copy the number of updates to the device, and wait until that is done.
        tensors = _tensors if self._use_buffers else _parameters
        for averages, weights in _by_kind(tensors(self.module), tensors(self._model)):
            self._average(averages, weights, None)
        if not self._use_buffers:
            _copy(list(self._model.buffers()), list(self.module.buffers()))
        self._averaged.n_averaged += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and the number of updates."""
        return dict(self._averaged.state_dict())

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Args:
            state_dict: what `state_dict` returned.

        Raises:
            StateDictError: it is not that of an average of such a model; nothing is changed then. The state of a model
                alone lacks the number of updates: load it into `module`.
        """
        own = self._averaged.state_dict()
        if not isinstance(state_dict, Mapping) or set(state_dict) != set(own):
            given = set(state_dict) if isinstance(state_dict, Mapping) else set()
            raise StateDictError(
                f"`state_dict` must have the entries of this average, got {sorted(given - set(own))[:3]} too many and "
                f"{sorted(set(own) - given)[:3]} too few; load the state of a model into `module`"
            )
        for name, value in own.items():
            if getattr(value, "shape", None) != (shape := getattr(state_dict[name], "shape", None)):
                raise StateDictError(f"{name!r} must have the shape {tuple(value.shape)}, got {shape}")
        self._averaged.load_state_dict(state_dict)

    def _put_in(self) -> None:
        # Before the first update there is no average, only a copy of the weights from when this was made.
        if self._own_weights is None and self._averaged.n_averaged > 0:
            self._own_weights = [own.detach().clone() for own in _tensors(self._model)]
            _copy(_tensors(self.module), _tensors(self._model))

    def _put_back(self) -> None:
        if self._own_weights is not None:
            _copy(self._own_weights, _tensors(self._model))
            self._own_weights = None


def _parameters(module: Any) -> list[Any]:
    return list(module.parameters())


def _tensors(module: Any) -> list[Any]:
    return list(chain(module.parameters(), module.buffers()))


def _by_kind(averages: list[Any], weights: list[Any]) -> Iterator[tuple[list[Any], list[Any]]]:
    """Yield averages with their weights, those of one device and one type at a time."""
    kinds: dict[Any, tuple[list[Any], list[Any]]] = {}
    for average, weight in zip(averages, weights, strict=True):
        together = kinds.setdefault((average.device, average.dtype), ([], []))
        together[0].append(average.detach())
        together[1].append(weight.detach().to(average.device))
    yield from kinds.values()


def _copy(sources: list[Any], targets: list[Any]) -> None:
    # In place: an optimizer, a compiled model and a captured graph refer to the same memory.
    for source, target in zip(sources, targets, strict=True):
        target.detach().copy_(source)
