"""A metric that is computed from other metrics."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch

from camshaft.engine import Engine
from ignite.metrics._following import follow, follows
from ignite.metrics._usage import as_usage
from ignite.metrics.metric import EpochWise, Metric, MetricUsage, ResultMode, reinit__is_reduced

__all__ = ["MetricsLambda"]


class MetricsLambda(Metric):
    """Apply a function to the results of other metrics.

    Resetting and updating it resets and updates these metrics. Attaching it attaches them as far
    as they are needed: they write no results of their own into the engine's state.

    Attributes:
        function: the function.
        args: its arguments, metrics and others.
        kwargs: its arguments by name.
        engine: the engine it was attached to last, None before.

    Args:
        f: called with the results of the metrics among `args` and `kwargs`, and with the other arguments as they are.
        args: metrics, and other arguments.
        skip_unrolling: as :class:`Metric` takes it.
        metrics_result_mode: as :class:`Metric` takes it.
        kwargs: metrics, and other arguments, by name.

    Examples:
        >>> from ignite.metrics import Precision, Recall
        >>> precision, recall = Precision(average=False), Recall(average=False)
        >>> f1 = MetricsLambda(lambda p, r: (2 * p * r / (p + r)).mean().item(), precision, recall)
        >>> f1.update((torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]]), torch.tensor([1, 0, 0])))
        >>> round(f1.compute(), 4)
        0.6667
    """

    _state_dict_all_req_keys = ("_updated", "args", "kwargs")

    def __init__(
        self,
        f: Callable[..., Any],
        *args: Any,
        skip_unrolling: bool = False,
        metrics_result_mode: ResultMode = "both",
        **kwargs: Any,
    ) -> None:
        self.function = f
        self.args = list(args)
        self.kwargs = kwargs
        self.engine: Engine[Any, Any] | None = None
        self._updated = False
        super().__init__(device="cpu", skip_unrolling=skip_unrolling, metrics_result_mode=metrics_result_mode)

    @reinit__is_reduced
    def reset(self) -> None:
        """Reset the metrics it is computed from."""
        for leaf in leaves(self):
            leaf.reset()
        self._updated = False

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Update the metrics it is computed from.

        Args:
            output: what each of them takes.

        Raises:
            ValueError: it is attached to an engine, which updates them.
        """
        if self.engine is not None:
            raise ValueError("`update` must not be called while the metric is attached to an engine, which updates it")
        for leaf in leaves(self):
            leaf.update(output)
        self._updated = True

    def compute(self) -> Any:
        """Return the function of the results of the metrics.

        Returns:
            What the function returns.
        """
        args = [_result_of(argument) for argument in self.args]
        kwargs = {name: _result_of(argument) for name, argument in self.kwargs.items()}
        return self.function(*args, **kwargs)

    def attach(self, engine: Engine[Any, Any], name: str, usage: str | MetricUsage = EpochWise()) -> None:  # noqa: B008
        """Measure the outputs of an engine, with all metrics that this one is computed from.

        Args:
            engine: the engine.
            name: key of the result in `engine.state.metrics`.
            usage: when the metrics are reset, updated and computed.

        Raises:
            ValueError: it was updated by hand and not reset since.
        """
        if self._updated:
            raise ValueError("a metric that was updated by hand must not be attached to an engine; reset it first")
        usage = as_usage(usage)
        for leaf in leaves(self):
            follow(leaf, engine, usage)
        engine.add_event_handler(usage.COMPLETED, self.completed, name)
        self.engine = engine

    def detach(self, engine: Engine[Any, Any], usage: str | MetricUsage = EpochWise()) -> None:  # noqa: B008
        """Write no result any more; the metrics it is computed from may be needed by others and stay.

        Args:
            engine: the engine.
            usage: the usage with which it was attached.
        """
        super().detach(engine, usage)
        self.engine = None

    def is_attached(self, engine: Engine[Any, Any], usage: str | MetricUsage = EpochWise()) -> bool:  # noqa: B008
        """Return whether it writes its result, and all the metrics it is computed from are updated.

        Args:
            engine: the engine.
            usage: the usage with which it may be attached.

        Returns:
            True when nothing is missing.
        """
        usage = as_usage(usage)
        return super().is_attached(engine, usage) and all(follows(leaf, engine, usage) for leaf in leaves(self))


def _result_of(argument: Any) -> Any:
    if not isinstance(argument, Metric):
        return argument
    result = argument.compute()
    return result.cpu() if isinstance(result, torch.Tensor) else result


def leaves(metric: MetricsLambda) -> list[Metric]:
    """Return the metrics that take in an engine's output for this one, each once."""
    found: list[Metric] = []
    for argument in itertools.chain(metric.args, metric.kwargs.values()):
        if isinstance(argument, Metric):
            candidates = leaves(argument) if isinstance(argument, MetricsLambda) else [argument]
            found += [each for each in candidates if not any(each is other for other in found)]
    return found
