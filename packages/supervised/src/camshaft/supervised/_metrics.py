"""Metrics of a run, by name: anything with update, compute and reset, torchmetrics first of all."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning, Events, StateDictError

if TYPE_CHECKING:
    from camshaft.supervised._batch import Device


@runtime_checkable
class Metric(Protocol):
    """What can be attached as a metric."""

    def update(self, *args: Any) -> Any:
        """Take in the output of one iteration."""

    def compute(self) -> Any:
        """Return the result over everything since the last reset."""

    def reset(self) -> Any:
        """Forget everything."""


def attach_metrics(
    engine: Engine[Any, Any],
    metrics: Mapping[str, Any],
    *,
    output_transform: Callable[[Any], Any] | None = None,
    device: Device = None,
) -> None:
    """Compute metrics over each epoch of an engine.

    A metric is reset when an epoch starts, takes in the output of each iteration, and leaves its
    result in `engine.state.metrics` under its name when the epoch ends: a plain number where the
    result is a single one. A result that is a mapping (a collection's) is there as a whole under
    the metric's name, and its entries under their own.

    An output that is a tuple is spread over the arguments of `update` if they can take it, so the
    `(y_pred, y)` of an evaluator reaches `update(preds, target)`.

    Metrics with a `state_dict` belong to the engine's saved state under "metric:<name>", and those
    of torchmetrics are made persistent for it, so an epoch may be continued in another process. A metric
    without one starts anew there, with a warning.

    Args:
        engine: the engine whose outputs are measured.
        metrics: names to metrics: `torchmetrics.Metric`, `torchmetrics.MetricCollection`, or any
            object with `update`, `compute` and `reset`.
        output_transform: makes what `update` takes from the engine's output; None passes it as it is.
        device: where to move metrics that are modules; None leaves them where they are.

    Raises:
        ArgumentTypeError: `metrics` is not a mapping, or holds something that is not a metric.
        ArgumentError: two results would have the same name.

    Warns:
        EngineWarning: a run goes on inside an epoch whose first iterations the metric does not know.

    Examples:
        >>> class Total:
        ...     def reset(self): self.value = 0
        ...     def update(self, number): self.value += number
        ...     def compute(self): return self.value
        >>> engine = Engine(lambda engine, batch: batch)
        >>> attach_metrics(engine, {"total": Total()})
        >>> engine.run([1, 2, 3]).metrics
        {'total': 6}
    """
    if not isinstance(metrics, Mapping):
        raise ArgumentTypeError(f"`metrics` must be a mapping of names to metrics, got {metrics!r}")
    _require_distinct_names(engine, metrics)
    attached = [AttachedMetric(name, metric, output_transform, device) for name, metric in metrics.items()]
    for each in attached:
        each.attach(engine)


def _require_distinct_names(engine: Engine[Any, Any], metrics: Mapping[str, Any]) -> None:
    taken = {name for key in engine.stateful if (name := key.removeprefix("metric:")) != key}
    for name, metric in metrics.items():
        if not isinstance(name, str):
            raise ArgumentTypeError(f"`metrics` must have strings as names, got {name!r}")
        if not isinstance(metric, Metric):
            raise ArgumentTypeError(f"`metrics[{name!r}]` must have update, compute and reset, got {metric!r}")
        members = set(metric.keys()) if isinstance(metric, torch.nn.ModuleDict) else set()
        if repeated := ({name} | members) & taken:
            raise ArgumentError(
                f"`metrics` must have names of their own, got {sorted(repeated)} twice; a collection takes a `prefix`"
            )
        taken |= {name} | members


class AttachedMetric:
    """One metric on an engine.

    Args:
        name: key of the result.
        metric: what is updated, computed and reset.
        output_transform, device: as :func:`attach_metrics` takes them.
    """

    def __init__(
        self, name: str, metric: Any, output_transform: Callable[[Any], Any] | None = None, device: Device = None
    ) -> None:
        self.name = name
        self.metric = metric
        self._transform = output_transform
        self._most_arguments = _positional_count(metric.update)
        self._updated = False
        self._iteration: int | None = -1  # of the run, up to which it is up to date; None: up to where it was restored
        if isinstance(metric, torch.nn.Module):
            _make_persistent(metric)
            if device is not None:
                metric.to(device)

    def attach(self, engine: Engine[Any, Any]) -> None:
        """Follow the engine's epochs, and belong to its saved state when the metric has one."""
        engine.add_event_handler(Events.STARTED, self.require_epoch_so_far)
        engine.add_event_handler(Events.EPOCH_STARTED, self.reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.update)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.compute)
        if all(callable(getattr(self.metric, method, None)) for method in ("state_dict", "load_state_dict")):
            engine.stateful[f"metric:{self.name}"] = self

    def require_epoch_so_far(self, engine: Engine[Any, Any]) -> None:
        """Start anew, with a warning, in an epoch whose first iterations this metric has not seen."""
        position = engine.position
        if not engine.state.resumed or not position.epoch_iteration or self._iteration in (None, position.iteration):
            return
        self.reset(engine)
        warnings.warn(
            f"the metric {self.name!r} has no saved state to go on from: its result for epoch {position.epoch} "
            f"leaves out the first {position.epoch_iteration} iterations",
            EngineWarning,
            stacklevel=2,
        )

    def reset(self, engine: Engine[Any, Any]) -> None:
        """Forget the epoch before."""
        self.metric.reset()
        self._updated, self._iteration = False, engine.state.iteration

    @torch.no_grad()
    def update(self, engine: Engine[Any, Any]) -> None:
        """Take in the output of the iteration just done."""
        output = engine.state.output
        if self._transform is not None:
            output = self._transform(output)
        if isinstance(output, tuple) and len(output) <= self._most_arguments:
            self.metric.update(*output)
        else:
            self.metric.update(output)
        self._updated, self._iteration = True, engine.state.iteration

    def compute(self, engine: Engine[Any, Any]) -> None:
        """Put the result of the epoch into the state."""
        with warnings.catch_warnings():
            if self._updated:
                # A restored metric of torchmetrics does not know that it was updated before it was saved.
                warnings.filterwarnings("ignore", message=".*was called before the ``update`` method")
            result = _plain(self.metric.compute())
        if isinstance(result, Mapping):
            engine.state.metrics.update(result)
        engine.state.metrics[self.name] = result

    def state_dict(self) -> dict[str, Any]:
        """Return what the metric has taken in so far in this epoch."""
        return {"updated": self._updated, "metric": dict(self.metric.state_dict())}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            StateDictError: it is not the state of such a metric; nothing is changed then.
        """
        if not isinstance(state_dict, Mapping) or set(state_dict) != {"updated", "metric"}:
            raise StateDictError(f"the state of {self.name!r} must have 'updated' and 'metric', got {state_dict!r}")
        state = state_dict["metric"]
        if isinstance(self.metric, torch.nn.Module):
            self._require_own_entries(state)
            self._load_into_module(state)
        else:
            self.metric.load_state_dict(state)
        self._updated, self._iteration = bool(state_dict["updated"]), None

    def _load_into_module(self, state: Mapping[str, Any]) -> None:
        # torchmetrics remembers its last result until it is reset. It takes entries out of what it loads, and keeps
        # them as they are: hence a copy.
        self.metric.reset()
        self.metric.load_state_dict(_copied(state))
        _return_to_device(self.metric)

    def _require_own_entries(self, state: Any) -> None:
        own = self.metric.state_dict()
        if not isinstance(state, Mapping) or set(state) != set(own):
            found = sorted(state) if isinstance(state, Mapping) else state
            raise StateDictError(f"the state of {self.name!r} must have the entries {sorted(own)}, got {found!r}")
        for key, value in own.items():
            if isinstance(value, torch.Tensor) != isinstance(state[key], torch.Tensor):
                raise StateDictError(
                    f"entry {key!r} of the state of {self.name!r} must be a {type(value).__name__}, got {state[key]!r}"
                )


def _positional_count(function: Callable[..., Any]) -> float:
    """Return how many positional arguments `function` can take."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a builtin that does not say
        return float("inf")
    kinds = [parameter.kind for parameter in parameters]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return float("inf")
    return sum(kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD) for kind in kinds)


def _make_persistent(metric: torch.nn.Module) -> None:
    # Wrappers and collections hold metrics of their own, which their own switch does not reach.
    for module in metric.modules():
        switch = getattr(module, "persistent", None)
        if callable(switch):
            switch(True)


def _return_to_device(metric: torch.nn.Module) -> None:
    # Loading replaces tensors with those of the file, wherever these are.
    for module in metric.modules():
        home = getattr(module, "device", None)
        if isinstance(home, torch.device):
            module.to(home)


def _copied(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Return single numbers of torch and numpy as Python's own, in mappings too; everything else as it is."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, torch.Tensor):
        return value.item() if value.dim() == 0 else value.detach()
    is_scalar = getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None))
    return value.item() if is_scalar else value
