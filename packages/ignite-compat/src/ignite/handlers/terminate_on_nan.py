"""Stop a training whose numbers are no longer numbers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from camshaft.handlers import TerminateOnNan as CamshaftTerminateOnNan

__all__ = ["TerminateOnNan"]


class TerminateOnNan(CamshaftTerminateOnNan):
    """Terminate an engine when its output holds NaN or infinity.

    See :class:`camshaft.handlers.TerminateOnNan`.

    Args:
        output_transform: ``f(output)`` returns what to check; None checks the whole output.

    Attributes:
        logger: where it writes.
    """

    def __init__(self, output_transform: Callable[[Any], Any] | None = None) -> None:
        super().__init__(output_transform)
        self.logger = logging.getLogger(f"{__name__}.{type(self).__name__}")
