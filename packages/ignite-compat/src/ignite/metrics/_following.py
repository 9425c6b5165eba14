"""Metrics that are reset and updated by an engine, whether they write a result or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from camshaft.engine import Engine
from ignite.metrics._usage import MetricUsage

if TYPE_CHECKING:
    from ignite.metrics.metric import Metric


def follow(metric: Metric, engine: Engine[Any, Any], usage: MetricUsage) -> None:
    """Let an engine reset and update a metric, once however often it is asked.

    Args:
        metric: the metric.
        engine: the engine.
        usage: when.
    """
    for event, handler in ((usage.STARTED, metric.started), (usage.ITERATION_COMPLETED, metric.iteration_completed)):
        if not engine.has_event_handler(handler, event):
            engine.add_event_handler(event, handler)


def follows(metric: Metric, engine: Engine[Any, Any], usage: MetricUsage) -> bool:
    """Return whether an engine resets and updates a metric.

    Args:
        metric: the metric.
        engine: the engine.
        usage: when.

    Returns:
        True when it does both.
    """
    pairs = ((usage.STARTED, metric.started), (usage.ITERATION_COMPLETED, metric.iteration_completed))
    return all(engine.has_event_handler(handler, event) for event, handler in pairs)
