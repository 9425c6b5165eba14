"""Monotonic time of an epoch and of a run."""

from __future__ import annotations

from time import perf_counter


class Stopwatch:
    """Seconds since the start; time between `pause` and `resume` does not count."""

    __slots__ = ("_elapsed", "_since")

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._elapsed = 0.0
        self._since = perf_counter()

    def pause(self) -> None:
        """Stop counting."""
        self._elapsed = self.seconds()

    def resume(self) -> None:
        """Go on counting."""
        self._since = perf_counter()

    def seconds(self) -> float:
        """Return the seconds counted so far; not to be asked while paused."""
        return self._elapsed + perf_counter() - self._since
