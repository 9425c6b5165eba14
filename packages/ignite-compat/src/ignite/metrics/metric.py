"""The base class of all metrics."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import Any, ClassVar, Literal

import torch

from camshaft.engine import Engine
from ignite.base import Serializable
from ignite.metrics._arithmetic import MetricArithmetic
from ignite.metrics._following import follow
from ignite.metrics._saving import load, saved
from ignite.metrics._sharing import reinit__is_reduced, sync_all_reduce
from ignite.metrics._transform import whole
from ignite.metrics._usage import (
    BatchFiltered,
    BatchWise,
    EpochWise,
    MetricUsage,
    RunningBatchWise,
    RunningEpochWise,
    SingleEpochRunningBatchWise,
    as_usage,
)

__all__ = [
    "BatchFiltered",
    "BatchWise",
    "EpochWise",
    "Metric",
    "MetricUsage",
    "RunningBatchWise",
    "RunningEpochWise",
    "SingleEpochRunningBatchWise",
    "reinit__is_reduced",
    "sync_all_reduce",
]


ResultMode = Literal["flatten", "named", "both"]
RESULT_MODES = ("flatten", "named", "both")


class Metric(MetricArithmetic, Serializable, metaclass=ABCMeta):
    """Base class of metrics: reset, update with the output of an iteration, compute.

    A metric is attached to an engine under a name; its result is in `engine.state.metrics` under
    that name. Metrics may be added, multiplied, indexed and so on: the result is a metric too.

    Attributes:
        required_output_keys: what is taken out of an output that is a mapping, in the order of
            `update`'s tuple; None when the metric takes no mappings.

    Args:
        output_transform: makes what `update` takes of the engine's `state.output`.
        device: where the metric keeps what it counts.
        skip_unrolling: whether a pair of lists reaches `update` as it is. Otherwise it is taken
            for the samples of a batch, and `update` is called for each.

        metrics_result_mode: where a result that is a mapping goes in `engine.state.metrics`: its
            entries under their own keys ("flatten"), the mapping under the metric's name
            ("named"), or both ("both").

    Raises:
        ValueError: `device` is an XLA device, where "cpu" is the right one; or no result mode has
            this name.

    Examples:
        >>> from ignite.engine import Engine
        >>> class Largest(Metric):
        ...     def reset(self):
        ...         self._largest = 0
        ...     def update(self, output):
        ...         self._largest = max(self._largest, output)
        ...     def compute(self):
        ...         return self._largest
        >>> engine = Engine(lambda engine, batch: batch)
        >>> Largest().attach(engine, "largest")
        >>> engine.run([3, 8, 5]).metrics
        {'largest': 8}
    """

    _state_dict_all_req_keys: ClassVar[tuple[str, ...]] = ()
    _required_output_keys: tuple[str, ...] | None = ("y_pred", "y")
    required_output_keys: tuple[str, ...] | None = _required_output_keys

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
        metrics_result_mode: ResultMode = "both",
    ) -> None:
        self._output_transform = output_transform
        self._device = torch.device(device)
        if self._device.type == "xla":
            raise ValueError("`device` must not be an XLA device, got 'xla'; a metric counts on the host: 'cpu'")
        self._skip_unrolling = skip_unrolling
        if metrics_result_mode not in RESULT_MODES:
            raise ValueError(f"`metrics_result_mode` must be one of {RESULT_MODES}, got {metrics_result_mode!r}")
        self._metrics_result_mode = metrics_result_mode
        self._is_reduced = False
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forget everything. Called when a metric is made, and at the start of each of its spans."""

    @abstractmethod
    def update(self, output: Any) -> None:
        """Take in the output of one iteration.

        Args:
            output: what `output_transform` made of the engine's output.
        """

    @abstractmethod
    def compute(self) -> Any:
        """Return the result over everything since the last reset.

        Returns:
            A number, a tensor, or a mapping of names to them.

        Raises:
            NotComputableError: nothing was taken in yet.
        """

    # ------------------------------------------------------------------ what an engine calls

    def started(self, engine: Engine[Any, Any]) -> None:
        """Reset: called at the start of a span.

        Args:
            engine: the engine whose outputs are measured.
        """
        self.reset()

    @torch.no_grad()
    def iteration_completed(self, engine: Engine[Any, Any]) -> None:
        """Update with the engine's output: called after an iteration.

        Args:
            engine: the engine whose outputs are measured.

        Raises:
            TypeError: the output is a mapping, and this metric takes none.
            ValueError: the mapping lacks a required key, or lists of samples are not of one length.
        """
        output = self._output_transform(engine.state.output)
        if isinstance(output, Mapping):
            output = self._picked(output)
        if self._skip_unrolling or not _is_unrollable(output):
            self.update(output)
            return
        if len(output) != 2 or len(output[0]) != len(output[1]):
            raise ValueError(f"an output of lists must be two lists of one length, got {output!r}")
        for first, second in zip(*output, strict=True):
            prediction = _as_batch(first)
            self.update((prediction, _as_batch(second, prediction.device)))

    def _picked(self, output: Mapping[str, Any]) -> tuple[Any, ...]:
        keys = self.required_output_keys
        if keys is None:
            raise TypeError(f"the output for {type(self).__name__} must not be a mapping, got {output!r}")
        if not all(key in output for key in keys):
            raise ValueError(f"an output that is a mapping must have the keys {keys}, got {list(output)}")
        return tuple(output[key] for key in keys)

    def completed(self, engine: Engine[Any, Any], name: str) -> None:
        """Put the result into `engine.state.metrics`: called at the end of a span.

        Tensors of no dimension become numbers, other tensors are moved to the CPU. Where a mapping
        goes, `metrics_result_mode` says.

        Args:
            engine: the engine whose outputs are measured.
            name: key of the result.

        Raises:
            ValueError: the result is a mapping that has `name` as a key.
        """
        result = self.compute()
        if isinstance(result, Mapping):
            if self._metrics_result_mode != "flatten" and name in result:
                raise ValueError(f"`name` must not be a key of the result, got {name!r}; attach it under another name")
            if self._metrics_result_mode != "named":
                engine.state.metrics.update(result)
            if self._metrics_result_mode == "flatten":
                return
        elif isinstance(result, torch.Tensor):
            result = result.item() if result.dim() == 0 else result.cpu()
        engine.state.metrics[name] = result

    # ------------------------------------------------------------------ attaching

    def attach(self, engine: Engine[Any, Any], name: str, usage: str | MetricUsage = EpochWise()) -> None:  # noqa: B008
        """Measure the outputs of an engine.

        Args:
            engine: the engine.
            name: key of the result in `engine.state.metrics`.
            usage: when the metric is reset, updated and computed: "epoch_wise", "batch_wise",
                "running_epoch_wise", "running_batch_wise", "single_epoch_running_batch_wise", or
                an instance of a usage's class.

        Raises:
            ValueError: no usage has this name.
            TypeError: `usage` is neither a name nor a usage.

        Examples:
            >>> from ignite.engine import Engine
            >>> from ignite.metrics import Average
            >>> engine = Engine(lambda engine, batch: batch)
            >>> Average().attach(engine, "mean", usage="running_batch_wise")
            >>> engine.run([1.0, 2.0]).metrics
            {'mean': 1.5}
        """
        usage = as_usage(usage)
        follow(self, engine, usage)
        engine.add_event_handler(usage.COMPLETED, self.completed, name)

    def detach(self, engine: Engine[Any, Any], usage: str | MetricUsage = EpochWise()) -> None:  # noqa: B008
        """Stop measuring an engine; nothing happens where the metric is not attached.

        Args:
            engine: the engine.
            usage: the usage with which the metric was attached.
        """
        usage = as_usage(usage)
        for event, handler in (
            (usage.COMPLETED, self.completed),
            (usage.STARTED, self.started),
            (usage.ITERATION_COMPLETED, self.iteration_completed),
        ):
            if engine.has_event_handler(handler, event):
                engine.remove_event_handler(handler, event)

    def is_attached(self, engine: Engine[Any, Any], usage: str | MetricUsage = EpochWise()) -> bool:  # noqa: B008
        """Return whether the metric writes its result into the engine's state.

        Args:
            engine: the engine.
            usage: the usage with which the metric may be attached.

        Returns:
            True when it is attached with this usage.
        """
        usage = as_usage(usage)
        return engine.has_event_handler(self.completed, usage.COMPLETED)

    # ------------------------------------------------------------------ saving

    def state_dict(self) -> OrderedDict[str, Any]:
        """Return what the metric has counted, in each of the processes.

        Returns:
            One entry: a list with the state of each rank.
        """
        return saved(self)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state_dict: what `state_dict` returned, in as many processes.

        Raises:
            TypeError: it is not a mapping.
            ValueError: it is not the state of such a metric; nothing is changed then.
        """
        load(self, state_dict)


def _is_unrollable(output: object) -> bool:
    """Return whether an output is a sequence of lists of tensors or numbers: samples one by one."""
    return isinstance(output, Sequence) and all(_is_list_of_samples(item) for item in output)


def _is_list_of_samples(item: object) -> bool:
    return isinstance(item, Sequence) and all(isinstance(sample, torch.Tensor | Number) for sample in item)


def _as_batch(sample: Any, device: torch.device | None = None) -> torch.Tensor:
    """Return a batch of one sample."""
    if isinstance(sample, torch.Tensor):
        return sample.unsqueeze(0)
    return torch.tensor([sample], device=device)
