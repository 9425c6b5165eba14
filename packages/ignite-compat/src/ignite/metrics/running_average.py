"""The exponential running average of an output or of a metric."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

import ignite.distributed as idist
from camshaft.engine import Engine, Events
from ignite.metrics._sharing import summed
from ignite.metrics._transform import whole
from ignite.metrics._usage import as_usage
from ignite.metrics.metric import Metric, MetricUsage, RunningBatchWise, SingleEpochRunningBatchWise, reinit__is_reduced

__all__ = ["RunningAverage"]


class RunningAverage(Metric):
    """Running average `alpha * average + (1 - alpha) * value` of an engine's output or of a metric's result.

    By default it has a value after each iteration and goes on through the whole run. A metric that
    it averages is updated with each iteration, and computed and reset with each value: it is for the
    running average alone.

    Attributes:
        src: the metric, None for the output.
        alpha: weight of the average so far.

    Args:
        src: a metric; None for the output.
        alpha: weight of the average so far, above 0 and at most 1.
        output_transform: makes the value of the engine's output, without `src` only.
        epoch_bound: deprecated; True is the usage "single_epoch_running_batch_wise", False is
            "running_batch_wise", whatever `attach` says.
        device: where the average is kept, without `src` only; None for the CPU.
        skip_unrolling: as :class:`Metric` takes it.

    Raises:
        TypeError: `src` is neither a metric nor None.
        ValueError: `alpha` is out of range, `output_transform` or `device` is given with `src`, or
            `output_transform` is missing without it.

    Examples:
        >>> from ignite.engine import Engine
        >>> engine = Engine(lambda engine, batch: batch)
        >>> RunningAverage(output_transform=lambda output: output, alpha=0.5).attach(engine, "average")
        >>> engine.run([1.0, 2.0]).metrics
        {'average': 1.5}
    """

    required_output_keys = None
    _state_dict_all_req_keys = ("_value", "src")

    def __init__(
        self,
        src: Metric | None = None,
        alpha: float = 0.98,
        output_transform: Callable[[Any], Any] | None = None,
        epoch_bound: bool | None = None,
        device: str | torch.device | None = None,
        skip_unrolling: bool = False,
    ) -> None:
        if not (src is None or isinstance(src, Metric)):
            raise TypeError(f"`src` must be a metric or None, got {src!r}")
        if not 0.0 < alpha <= 1.0:
            raise ValueError(f"`alpha` must be above 0 and at most 1, got {alpha!r}")
        if src is not None and (output_transform is not None or device is not None):
            raise ValueError("`output_transform` and `device` must not be given with `src`; the metric has its own")
        if src is None and output_transform is None:
            raise ValueError("`output_transform` must be given without `src`; it makes a value of the engine's output")
        if epoch_bound is not None:
            usage = "single_epoch_running_batch_wise" if epoch_bound else "running_batch_wise"
            warnings.warn(f"`epoch_bound` is deprecated; attach with usage={usage!r}", UserWarning, stacklevel=2)
        self.epoch_bound = epoch_bound
        self.alpha = alpha
        self.src = src
        self._value: Any = None
        super().__init__(
            output_transform=output_transform or whole,
            device=src._device if src is not None else device or "cpu",  # noqa: SLF001  # of this package
            skip_unrolling=skip_unrolling,
        )

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget the average, and what the metric has counted."""
        self._value = None
        if self.src is not None:
            self.src.reset()

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Take in a value: the output, or the result of the metric, which is reset then.

        Args:
            output: a number or a tensor; of no meaning where a metric is averaged.
        """
        value = self._mean_over_processes(output) if self.src is None else self._result()
        if self._value is None:
            self._value = value
        else:
            self._value = self._value * self.alpha + (1.0 - self.alpha) * value

    def compute(self) -> Any:
        """Return the average.

        Returns:
            A number or a tensor, None before the first value.
        """
        return self._value

    def _result(self) -> Any:
        assert self.src is not None  # noqa: S101  # the caller has looked
        result = self.src.compute()
        self.src.reset()
        return result

    def _mean_over_processes(self, output: Any) -> Any:
        if isinstance(output, torch.Tensor):
            output = output.detach().to(self._device, copy=True)
        return summed(output / idist.get_world_size())

    def attach(
        self,
        engine: Engine[Any, Any],
        name: str,
        usage: str | MetricUsage = RunningBatchWise(),  # noqa: B008  # an immutable value
    ) -> None:
        """Measure the outputs of an engine.

        Args:
            engine: the engine.
            name: key of the average in `engine.state.metrics`.
            usage: when the average starts anew, takes in a value and is written.
        """
        if self.src is not None and not engine.has_event_handler(
            self.src.iteration_completed, Events.ITERATION_COMPLETED
        ):
            engine.add_event_handler(Events.ITERATION_COMPLETED, self.src.iteration_completed)
        super().attach(engine, name, self._usage(usage))

    def detach(
        self,
        engine: Engine[Any, Any],
        usage: str | MetricUsage = RunningBatchWise(),  # noqa: B008  # an immutable value
    ) -> None:
        """Stop measuring an engine.

        Args:
            engine: the engine.
            usage: the usage with which it was attached.
        """
        if self.src is not None and engine.has_event_handler(self.src.iteration_completed, Events.ITERATION_COMPLETED):
            engine.remove_event_handler(self.src.iteration_completed, Events.ITERATION_COMPLETED)
        super().detach(engine, self._usage(usage))

    def is_attached(
        self,
        engine: Engine[Any, Any],
        usage: str | MetricUsage = RunningBatchWise(),  # noqa: B008  # an immutable value
    ) -> bool:
        """Return whether the average is written into the engine's state.

        Args:
            engine: the engine.
            usage: the usage with which it may be attached.

        Returns:
            True when it is attached with this usage.
        """
        return super().is_attached(engine, self._usage(usage))

    def iteration_completed(self, engine: Engine[Any, Any]) -> None:
        """Take in a value: called after an iteration, or after an epoch.

        Args:
            engine: the engine whose outputs are measured.
        """
        if self.src is None:
            super().iteration_completed(engine)
        else:
            self.update(None)

    def _usage(self, usage: str | MetricUsage) -> MetricUsage:
        if self.epoch_bound is None:
            return as_usage(usage)
        return SingleEpochRunningBatchWise() if self.epoch_bound else RunningBatchWise()
