"""Keep what an engine puts out in an epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ignite.engine import Events
from ignite.handlers._annotations import AnyEngine

__all__ = ["EpochOutputStore"]


class EpochOutputStore:
    """Collect the outputs of an epoch in a list.

    Args:
        output_transform: makes what is kept from the engine's output.

    Attributes:
        data: the outputs of the current epoch.

    Examples:
        >>> from ignite.engine import Engine
        >>> engine, store = Engine(lambda engine, batch: 2 * batch), EpochOutputStore()
        >>> store.attach(engine, "outputs")
        >>> engine.run([1, 2, 3], max_epochs=2).outputs
        [2, 4, 6]
    """

    def __init__(self, output_transform: Callable[[Any], Any] = lambda output: output) -> None:
        self.data: list[Any] = []
        self.output_transform = output_transform
        self.name: str | None = None

    def reset(self) -> None:
        """Begin a new list."""
        self.data = []

    def update(self, engine: AnyEngine) -> None:
        """Append the engine's output."""
        self.data.append(self.output_transform(engine.state.output))

    def store(self, engine: AnyEngine) -> None:
        """Put the list into the engine's state, under the name given to `attach`."""
        if self.name is not None:
            setattr(engine.state, self.name, self.data)

    def attach(self, engine: AnyEngine, name: str | None = None) -> None:
        """Collect the outputs of an engine.

        Args:
            engine: the engine.
            name: attribute of its state that gets the list at the end of each epoch; None for none.
        """
        engine.add_event_handler(Events.EPOCH_STARTED, self.reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.update)
        if name is not None:
            self.name = name
            engine.add_event_handler(Events.EPOCH_COMPLETED, self.store)
