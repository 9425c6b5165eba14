"""What users ask of a run: to stop, to end the epoch, to be suspended, to take other data, to reach a safe point.

Each request is a value or None, kept here until `Run` heeds it, which it does in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Terminate(NamedTuple):
    """End the run."""

    skip_completed: bool


class TerminateEpoch(NamedTuple):
    """End the epoch."""

    skip_epoch_completed: bool


class NewData(NamedTuple):
    """Take the next batch from other data."""

    data: Any


class Requests:
    """What is asked of an engine's run, and what waits for its next safe point.

    Attributes:
        signal: whether the loop has to look: something below, a handler or the state has changed. It is
            the one thing that the loop looks at in each iteration.
        terminate: asked for with `Engine.terminate`; before a run it is for the next one.
        terminate_epoch: asked for with `Engine.terminate_epoch`.
        interrupt: asked for with `Engine.interrupt`.
        new_data: given with `Engine.set_data`; before a run it is for the next one.
        callbacks: what to call at the next safe point.
        holds: safe points wait while one of these returns True.
    """

    __slots__ = ("callbacks", "holds", "interrupt", "new_data", "signal", "terminate", "terminate_epoch")

    def __init__(self) -> None:
        self.holds: list[Callable[[], bool]] = []
        self.callbacks: list[Callable[[], object]] = []
        self.signal = False
        self.drop()

    def drop(self) -> None:
        """Drop everything that is asked for: the run that it was asked of has ended."""
        self.terminate: Terminate | None = None
        self.terminate_epoch: TerminateEpoch | None = None
        self.interrupt = False
        self.new_data: NewData | None = None
        self.callbacks.clear()

    def notice(self) -> None:
        """Make the loop look."""
        self.signal = True

    def at_safe_point(self, callback: Callable[[], object]) -> None:
        """Keep `callback` for the next safe point."""
        self.callbacks.append(callback)
        self.signal = True

    def is_held(self) -> bool:
        """Return whether something holds safe points back."""
        return any(hold() for hold in self.holds)

    def call_back(self) -> None:
        """Call what waits for a safe point, in order; what it asks for in turn is called here too."""
        while self.callbacks:
            self.callbacks.pop(0)()

    def __getstate__(self) -> list[Callable[[], bool]]:
        """Return what a copy is made of: nothing is asked of it, but it holds safe points back as this one does."""
        return self.holds

    def __setstate__(self, holds: list[Callable[[], bool]]) -> None:
        self.__init__()  # type: ignore[misc]  # a copy begins as a new one
        self.holds = holds
