"""Stop a run when its time is up."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine
from camshaft.handlers._number import is_number

if TYPE_CHECKING:
    from collections.abc import Callable


class TimeLimit:
    """Terminates an engine at the first call after a time limit.

    The time counts from when the handler is made, not from the start of the run: it is the time for which you have
    the machine. A resumed run starts with the whole limit again.

    Args:
        limit_sec: the limit in seconds; above 0.
        clock: returns the time in seconds; it must never go back.

    Attributes:
        limit_sec: as given.
        logger: where it writes; None, as at first, for the engine's own logger.

    Raises:
        ArgumentTypeError: `limit_sec` is not a number.
        ArgumentError: `limit_sec` is not above 0.

    Examples:
        >>> from camshaft.engine import Events
        >>> minutes = iter([0, 60, 120, 180, 240])
        >>> engine = Engine(lambda engine, batch: None)
        >>> handle = engine.add_event_handler(
        ...     Events.ITERATION_COMPLETED, TimeLimit(150, clock=lambda: next(minutes))
        ... )
        >>> engine.run(range(100)).iteration
        3
    """

    def __init__(self, limit_sec: float = 28800, *, clock: Callable[[], float] = time.monotonic) -> None:
        if not is_number(limit_sec):
            raise ArgumentTypeError(f"`limit_sec` must be a number of seconds, got {limit_sec!r}")
        if not limit_sec > 0:
            raise ArgumentError(f"`limit_sec` must be above 0, got {limit_sec!r}")
        self.limit_sec = limit_sec
        self.logger: logging.Logger | None = None
        self._clock = clock
        self._started_at = clock()

    def __call__(self, engine: Engine[Any, Any], *_: Any) -> None:
        """Terminate the engine if the time is up.

        Args:
            engine: the engine to terminate.
        """
        elapsed_s = self._clock() - self._started_at
        if elapsed_s > self.limit_sec:
            logger = self.logger or engine.logger
            logger.info("TimeLimit: %.0f s have passed, the limit is %s s", elapsed_s, self.limit_sec)
            engine.terminate()
