"""Samples per second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from camshaft.engine import CallableEventWithFilter, Engine, Events
from ignite.metrics._following import follow
from ignite.metrics._sharing import reduced
from ignite.metrics._transform import whole
from ignite.metrics.metric import EpochWise, Metric, reinit__is_reduced

__all__ = ["Frequency"]


class Frequency(Metric):
    """Samples per second since the epoch's start, in all processes together.

    `update` takes a number of samples.

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> from ignite.engine import Engine
        >>> engine = Engine(lambda engine, batch: {"tokens": len(batch)})
        >>> tokens_per_second = Frequency(output_transform=lambda output: output["tokens"])
        >>> tokens_per_second.attach(engine, name="tokens_per_s")
        >>> engine.run(["abc", "de"]).metrics["tokens_per_s"] > 0
        True
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(output_transform=output_transform, device=device, skip_unrolling=skip_unrolling)

    @reinit__is_reduced
    def reset(self) -> None:
        """Start anew, now."""
        self._started = time.monotonic()
        self._elapsed = 0.0
        self._n = 0

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add samples.

        Args:
            output: how many.
        """
        self._n += output
        self._elapsed = time.monotonic() - self._started

    def compute(self) -> int:
        """Return the frequency up to the last update.

        Returns:
            Samples per second, rounded down; 0 before the first update.
        """
        elapsed = reduced(self._elapsed, "_elapsed", "MAX")
        return int(reduced(self._n, "_n") / elapsed) if elapsed > 0 else 0

    def completed(self, engine: Engine[Any, Any], name: str) -> None:
        """Put the frequency into `engine.state.metrics`.

        Args:
            engine: the engine whose outputs are measured.
            name: key of the result.
        """
        engine.state.metrics[name] = self.compute()

    def attach(  # type: ignore[override]  # Ignite's own
        self,
        engine: Engine[Any, Any],
        name: str,
        event_name: CallableEventWithFilter = Events.ITERATION_COMPLETED,
    ) -> None:
        """Measure the outputs of an engine.

        Args:
            engine: the engine.
            name: key of the result in `engine.state.metrics`.
            event_name: the event at which the result is written.
        """
        follow(self, engine, EpochWise())
        engine.add_event_handler(event_name, self.completed, name)
