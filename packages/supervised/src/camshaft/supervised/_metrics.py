"""Metrics of a run, by name: anything with update, compute and reset, first of all those of torchmetrics."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch

from camshaft.engine import (
    ArgumentError,
    ArgumentTypeError,
    Engine,
    EngineWarning,
    Events,
    StateDictError,
    accepts,
    has_state,
    imported,
    ranks,
)
from camshaft.supervised._batch import batch_size
from camshaft.supervised._errors import BackendMissingError
from camshaft.supervised._merged_metric import merge_states

if TYPE_CHECKING:
    from camshaft.supervised._batch import Device

AnyEngine = Engine[Any, Any]


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
    engine: AnyEngine,
    metrics: Mapping[str, Any],
    *,
    output_transform: Callable[[Any], Any] | None = None,
    device: Device = None,
) -> None:
    """Compute metrics over each epoch of an engine.

    A metric is reset when an epoch starts and updated with the output of each iteration. When the epoch ends, its
    result is put into `engine.state.metrics` under its name: as a plain number if it is a single one. A result that
    is a mapping (that of a collection) is there as a whole under the name of the metric, and its entries are there
    under their own names.

    An output that is a tuple becomes the arguments of `update` if `update` takes that many, so the `(y_pred, y)` of
    an evaluator reaches `update(preds, target)`.

    Metrics with `state_dict` and `load_state_dict` are saved with the engine, under "metric:<name>", so an epoch can
    be continued in another process. The states of torchmetrics are made persistent for that. A metric without these
    methods starts again there, with a warning.

    Args:
        engine: the engine whose outputs are measured.
        metrics: names to metrics: `torchmetrics.Metric`, `torchmetrics.MetricCollection`, or any object with
            `update`, `compute` and `reset`.
        output_transform: `f(output)` makes what `update` takes from the engine's output; None passes the output.
        device: where to move metrics that are modules; None leaves them where they are.

    Raises:
        ArgumentTypeError: `metrics` is not a mapping, or holds something that is not a metric.
        ArgumentError: two results would have the same name.

    Warns:
        EngineWarning: (in a run) the run continues inside an epoch, and the metric lacks its first iterations.

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

    def read(engine: AnyEngine) -> Any:
        output = engine.state.output
        return output if output_transform is None else output_transform(output)

    attached = [AttachedMetric(name, metric, read, device) for name, metric in metrics.items()]
    for each in attached:
        each.attach(engine)


def attach_mean_loss(
    engine: AnyEngine,
    loss_fn: Callable[[Any, Any], Any] | None = None,
    *,
    name: str = "loss",
    batch_size: Callable[[Any], int] = batch_size,
    device: Device = None,
) -> None:
    """Compute the mean loss over the samples of each epoch: each batch counts with its size.

    The mean of the batches' losses alone would be wrong when the last batch is smaller than the others. The mean is
    `torchmetrics.MeanMetric`, attached as `attach_metrics` does.

    Args:
        engine: the engine that is measured. A trainer's output is the loss; an evaluator's is `(y_pred, y)`.
        loss_fn: `loss_fn(y_pred, y)` returns the mean loss of a batch; None takes the engine's output as that.
        name: key of the result in `engine.state.metrics`.
        batch_size: `f(batch)` returns how many samples a batch has. By default, the first dimension of the first
            tensor in it.
        device: where to compute the mean; None means where the loss is.

    Raises:
        BackendMissingError: torchmetrics is not installed; the extra is camshaft-supervised[metrics].
        ArgumentError: the engine has a result of this name already.

    Examples:
        >>> from camshaft.supervised import create_supervised_evaluator
        >>> evaluator = create_supervised_evaluator(torch.nn.Identity())
        >>> attach_mean_loss(evaluator, torch.nn.functional.mse_loss)
        >>> evaluator.run([(torch.zeros(3), torch.ones(3)), (torch.zeros(1), torch.zeros(1))]).metrics
        {'loss': 0.75}
    """
    mean = _import_torchmetrics("attach_mean_loss").MeanMetric()
    _require_distinct_names(engine, {name: mean})

    def read(engine: AnyEngine) -> tuple[Any, int]:
        output: Any = engine.state.output
        loss = output if loss_fn is None else loss_fn(*output)
        if device is None and isinstance(loss, torch.Tensor) and loss.device != mean.device:
            mean.to(loss.device)  # copying each loss instead would wait for the device
        return loss, batch_size(engine.state.batch)

    AttachedMetric(name, mean, read, device).attach(engine)


def _import_torchmetrics(needed_by: str) -> Any:
    try:
        return import_module("torchmetrics")
    except ModuleNotFoundError as error:
        if error.name != "torchmetrics":
            raise
        raise BackendMissingError("metrics", f"`{needed_by}` needs torchmetrics, which is not installed") from error


def _require_distinct_names(engine: AnyEngine, metrics: Mapping[str, Any]) -> None:
    taken = {name for key in engine.stateful if (name := key.removeprefix("metric:")) != key}
    for name, metric in metrics.items():
        if not isinstance(name, str):
            raise ArgumentTypeError(f"`metrics` must have strings as names, got {name!r}")
        if not isinstance(metric, Metric):
            raise ArgumentTypeError(f"`metrics[{name!r}]` must have update, compute and reset, got {metric!r}")
        if _is_of_pytorch_ignite(metric):
            raise ArgumentTypeError(
                f"`metrics[{name!r}]` must not be a metric of pytorch-ignite, got {type(metric).__qualname__}, which "
                "needs an engine of pytorch-ignite; use the metric of that name of torchmetrics, or install "
                "camshaft-ignite-compat in place of pytorch-ignite"
            )
        members = set(metric.keys()) if isinstance(metric, torch.nn.ModuleDict) else set()
        if repeated := ({name} | members) & taken:
            raise ArgumentError(
                f"`metrics` must have names of their own, got {sorted(repeated)} twice; a collection takes a `prefix`"
            )
        taken |= {name} | members


def _is_of_pytorch_ignite(value: object) -> bool:
    """Return whether `value` comes from pytorch-ignite, not from the package that stands in for it here."""
    if not any(base.__module__.partition(".")[0] == "ignite" for base in type(value).__mro__):
        return False
    engine_class = getattr(imported("ignite.engine"), "Engine", None)
    return not (isinstance(engine_class, type) and issubclass(engine_class, Engine))


class AttachedMetric:
    """One metric on an engine.

    Args:
        name: key of the result.
        metric: what is updated, computed and reset.
        read: `read(engine)` returns what `update` takes; a tuple is several arguments.
        device: where to move a metric that is a module; None leaves it where it is.
    """

    def __init__(self, name: str, metric: Any, read: Callable[[AnyEngine], Any], device: Device = None) -> None:
        self.name = name
        self.metric = metric
        self._read = read
        self._takes: dict[int, bool] = {}  # number of arguments: whether `update` takes that many
        self._is_updated = False
        # The metric is up to date until this iteration of the run; None: until where it was restored.
        self._iteration: int | None = -1
        if isinstance(metric, torch.nn.Module):
            _make_persistent(metric)
            if device is not None:
                metric.to(device)

    def attach(self, engine: AnyEngine) -> None:
        """Follow the epochs of an engine, and be saved with it if the metric has a state."""
        engine.add_event_handler(Events.STARTED, self.require_epoch_so_far)
        engine.add_event_handler(Events.EPOCH_STARTED, self.reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.update)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.compute)
        if has_state(self.metric):
            engine.stateful[f"metric:{self.name}"] = self

    def require_epoch_so_far(self, engine: AnyEngine) -> None:
        """Start again, with a warning, if the run continues an epoch whose first iterations the metric lacks."""
        position = engine.position
        if not engine.state.resumed or not position.epoch_iteration or self._iteration in (None, position.iteration):
            return
        self.reset(engine)
        warnings.warn(
            f"the metric {self.name!r} has no saved state to continue from: its result for epoch {position.epoch} "
            f"leaves out the first {position.epoch_iteration} iterations",
            EngineWarning,
            stacklevel=2,
        )

    def reset(self, engine: AnyEngine) -> None:
        """Forget the previous epoch."""
        self.metric.reset()
        self._is_updated, self._iteration = False, engine.state.iteration

    @torch.no_grad()
    def update(self, engine: AnyEngine) -> None:
        """Update the metric with the iteration that was just done."""
        value = self._read(engine)
        if isinstance(value, tuple) and self._takes_as_arguments(value):
            self.metric.update(*value)
        else:
            self.metric.update(value)
        self._is_updated, self._iteration = True, engine.state.iteration

    def _takes_as_arguments(self, values: tuple[Any, ...]) -> bool:
        count = len(values)
        if count not in self._takes:
            self._takes[count] = accepts(self.metric.update, *values)
        return self._takes[count]

    def compute(self, engine: AnyEngine) -> None:
        """Put the result of the epoch into `engine.state.metrics`."""
        with warnings.catch_warnings():
            if self._is_updated:
                # A restored metric of torchmetrics does not know that it was updated before it was saved.
                warnings.filterwarnings("ignore", message=".*was called before the ``update`` method")
            result = _plain(self.metric.compute())
        if isinstance(result, Mapping):
            engine.state.metrics.update(result)
        engine.state.metrics[self.name] = result

    def state_dict(self) -> dict[str, Any]:
        """Return what the metric has accumulated in this epoch."""
        return {"updated": self._is_updated, "metric": dict(self.metric.state_dict())}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Args:
            state_dict: what `state_dict` returned.

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
        self._is_updated, self._iteration = bool(state_dict["updated"]), None

    def merge_state_dicts(self, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return what this process goes on with where other processes have saved, in another number.

        Rank 0 gets what all have accumulated, the others nothing: over processes that is the same.

        Args:
            states: what `state_dict` has returned in each process.

        Raises:
            StateDictError: the metric does not say how its states are merged.
        """
        if not isinstance(self.metric, torch.nn.Module):
            raise StateDictError(
                f"the metric {self.name!r} was saved by {len(states)} processes, and only metrics of torchmetrics can "
                f"be merged, got {type(self.metric).__name__}; go on with {len(states)} processes"
            )
        merged = merge_states(self.name, self.metric, [state["metric"] for state in states])
        if ranks().rank != 0:
            empty: Any = deepcopy(self.metric)
            empty.reset()
            merged = dict(empty.state_dict())
        return {"updated": any(state["updated"] for state in states), "metric": merged}

    def _load_into_module(self, state: Mapping[str, Any]) -> None:
        # Reset, because torchmetrics keeps its last result until then. Copied, because it removes entries from the
        # mapping that it loads and keeps the tensors themselves.
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


def _make_persistent(metric: torch.nn.Module) -> None:
    # Module by module: the method of a wrapper or a collection does not reach the metrics inside it.
    for module in metric.modules():
        switch = getattr(module, "persistent", None)
        if callable(switch):
            switch(True)


def _return_to_device(metric: torch.nn.Module) -> None:
    # Loading replaces the tensors with those of the file, on whichever device they are.
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
    """Return single numbers of torch and numpy as Python numbers, also inside mappings; anything else as it is."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, torch.Tensor):
        return value.item() if value.dim() == 0 else value.detach()
    is_scalar = getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None))
    return value.item() if is_scalar else value
