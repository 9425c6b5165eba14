"""When a metric is reset, updated and computed."""

from __future__ import annotations

from typing import Any

from camshaft.engine import CallableEventWithFilter, Events


class MetricUsage:
    """Three events: at one a metric is reset, at one it is updated, at one its result is written.

    Args:
        started: the event at which the metric is reset.
        completed: the event at which its result goes into `engine.state.metrics`.
        iteration_completed: the event at which it takes in the engine's output.

    Examples:
        >>> usage = MetricUsage(Events.STARTED, Events.COMPLETED, Events.ITERATION_COMPLETED(every=10))
        >>> usage.COMPLETED
        Events.COMPLETED
    """

    usage_name: str

    def __init__(self, started: Events, completed: Events, iteration_completed: CallableEventWithFilter) -> None:
        self.__started = started
        self.__completed = completed
        self.__iteration_completed = iteration_completed

    @property
    def STARTED(self) -> Events:  # noqa: N802  # Ignite's name
        """The event at which the metric is reset."""
        return self.__started

    @property
    def COMPLETED(self) -> Events:  # noqa: N802  # Ignite's name
        """The event at which the metric's result goes into the state."""
        return self.__completed

    @property
    def ITERATION_COMPLETED(self) -> CallableEventWithFilter:  # noqa: N802  # Ignite's name
        """The event at which the metric takes in the engine's output."""
        return self.__iteration_completed


class EpochWise(MetricUsage):
    """One result per epoch, over that epoch; the default, named "epoch_wise"."""

    usage_name = "epoch_wise"

    def __init__(self) -> None:
        super().__init__(Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, Events.ITERATION_COMPLETED)


class RunningEpochWise(EpochWise):
    """One update and one result per epoch, over the run so far; named "running_epoch_wise".

    What is taken in is the output of each epoch's last iteration, or, for a running average of a
    metric, that metric's result of the epoch.
    """

    usage_name = "running_epoch_wise"

    def __init__(self) -> None:
        MetricUsage.__init__(self, Events.STARTED, Events.EPOCH_COMPLETED, Events.EPOCH_COMPLETED)


class BatchWise(MetricUsage):
    """One result per iteration, over that batch; named "batch_wise"."""

    usage_name = "batch_wise"

    def __init__(self) -> None:
        super().__init__(Events.ITERATION_STARTED, Events.ITERATION_COMPLETED, Events.ITERATION_COMPLETED)


class RunningBatchWise(BatchWise):
    """One result per iteration, over the run so far; named "running_batch_wise"."""

    usage_name = "running_batch_wise"

    def __init__(self) -> None:
        MetricUsage.__init__(self, Events.STARTED, Events.ITERATION_COMPLETED, Events.ITERATION_COMPLETED)


class SingleEpochRunningBatchWise(BatchWise):
    """One result per iteration, over the epoch so far; named "single_epoch_running_batch_wise"."""

    usage_name = "single_epoch_running_batch_wise"

    def __init__(self) -> None:
        MetricUsage.__init__(self, Events.EPOCH_STARTED, Events.ITERATION_COMPLETED, Events.ITERATION_COMPLETED)


class BatchFiltered(MetricUsage):
    """One result per epoch, over those of its iterations that a filter lets through.

    Args:
        args: as an event takes them: `BatchFiltered(every=2)`.
        kwargs: the same, by name.
    """

    usage_name = "batch_filtered"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, Events.ITERATION_COMPLETED(*args, **kwargs))


USAGES: dict[str, type[MetricUsage]] = {
    usage.usage_name: usage
    for usage in (EpochWise, RunningEpochWise, BatchWise, RunningBatchWise, SingleEpochRunningBatchWise)
}


def as_usage(usage: str | MetricUsage) -> MetricUsage:
    """Return the usage that a user named.

    Args:
        usage: a usage, or the name of one.

    Returns:
        The usage.

    Raises:
        ValueError: no usage has this name.
        TypeError: it is neither a name nor a usage.
    """
    if isinstance(usage, MetricUsage):
        return usage
    if not isinstance(usage, str):
        raise TypeError(f"`usage` must be a MetricUsage or the name of one, got {usage!r}")
    if usage not in USAGES:
        raise ValueError(f"`usage` must be one of {sorted(USAGES)}, got {usage!r}")
    return USAGES[usage]()  # type: ignore[call-arg]  # each of these makes its own events
