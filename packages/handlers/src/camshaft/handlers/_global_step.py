"""Take the step from another engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from camshaft.engine import CallableEventWithFilter, Engine


def global_step_from_engine(
    engine: Engine[Any, Any],
    custom_event_name: str | CallableEventWithFilter | None = None,
    fallback_attr: str = "epoch",
) -> Callable[[Any, str | CallableEventWithFilter], int]:
    """Make a function that reads the step from `engine`, whichever engine it is called for.

    With it an evaluator saves or logs under the epoch of its trainer.

    Args:
        engine: the engine whose counters are read.
        custom_event_name: the event whose counter is read; None reads that of the event that is fired.
        fallback_attr: the attribute of `engine.state` to read for events without a counter.

    Returns:
        `f(other_engine, event)`, which returns the counter.

    Examples:
        >>> from camshaft.engine import Engine, Events
        >>> trainer = Engine(lambda engine, batch: None)
        >>> step = global_step_from_engine(trainer)
        >>> state = trainer.run([1, 2, 3], max_epochs=2)
        >>> step(None, Events.ITERATION_COMPLETED), step(None, Events.EPOCH_COMPLETED), step(None, Events.COMPLETED)
        (6, 2, 2)
    """

    def global_step(_: Any, event: str | CallableEventWithFilter) -> int:
        try:
            return engine.state.get_event_attrib_value(custom_event_name or event)
        except RuntimeError:
            return int(getattr(engine.state, fallback_attr))

    return global_step
