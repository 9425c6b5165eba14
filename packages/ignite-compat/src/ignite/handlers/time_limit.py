"""Stop a training when its time is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from camshaft.handlers import TimeLimit as CamshaftTimeLimit

__all__ = ["TimeLimit"]


class TimeLimit(CamshaftTimeLimit):
    """Terminate an engine at the first call after a time limit.

    See :class:`camshaft.handlers.TimeLimit`.

    Args:
        limit_sec: the limit in seconds; above 0.
        clock: returns the time in seconds; it must never go back.

    Attributes:
        logger: where it writes.
    """

    def __init__(self, limit_sec: float = 28800, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(limit_sec, clock=clock)
        self.logger = logging.getLogger(f"{__name__}.{type(self).__name__}")
