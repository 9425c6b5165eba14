"""How often a request over a network is tried again, and how long to wait in between."""

from __future__ import annotations

import errno
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from camshaft.engine import ArgumentError, ArgumentTypeError, EngineError, as_integer
from camshaft.handlers.checkpoint._deferred_signals import deferred_signals

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_LONGEST_PAUSE_S = 30.0
# What the same request would bring up again.
_FINAL = (
    FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError, ImportError,
    AttributeError, TypeError, EngineError,
)  # fmt: skip
_FINAL_NUMBERS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG}


@dataclass(frozen=True)
class Retry:
    """A bounded number of attempts, with pauses that double.

    Attributes:
        attempts: How often a request is made at most.
        first_pause_s: Seconds before the second attempt; each pause is twice the one before, and 30 s at most.

    Raises:
        ArgumentError: there is no attempt, or the pause is negative.
        ArgumentTypeError: the pause is no number.

    Examples:
        >>> Retry(attempts=4, first_pause_s=0.5).pauses()
        [0.5, 1.0, 2.0]
    """

    attempts: int = 5
    first_pause_s: float = 0.5

    def __post_init__(self) -> None:
        as_integer("attempts", self.attempts, least=1)
        if not isinstance(self.first_pause_s, int | float):
            raise ArgumentTypeError(f"`first_pause_s` must be a number of seconds, got {self.first_pause_s!r}")
        if not self.first_pause_s >= 0:
            raise ArgumentError(f"`first_pause_s` must be at least 0, got {self.first_pause_s!r}; give seconds")

    def pauses(self) -> list[float]:
        """Return the seconds to wait after each attempt but the last."""
        return [min(self.first_pause_s * 2**number, _LONGEST_PAUSE_S) for number in range(self.attempts - 1)]

    def call(self, request: Callable[[], T], place: str) -> T:
        """Make a request until it succeeds.

        Args:
            request: What to do; doing it twice must be as good as once.
            place: What the error calls the place.

        Raises:
            ConnectionError: all attempts failed; the last error is the cause.
            OSError: an error that another attempt would not change, such as a missing permission.
        """
        pauses = self.pauses()
        while True:
            try:
                return request()
            except Exception as error:
                if is_final(error):
                    raise
                reason = " ".join(str(error).split())[:300] or type(error).__name__
                if isinstance(error, NotImplementedError):
                    raise OSError(errno.ENOTSUP, f"this file system cannot do it: {reason}", place) from error
                if _lacks_credentials(error):
                    raise PermissionError(errno.EACCES, reason, place) from error
                if not pauses:
                    told = f"{self.attempts} attempts failed, the last with: {reason}"
                    raise ConnectionError(getattr(error, "errno", None) or errno.EIO, told, place) from error
            wait(pauses.pop(0))


def is_final(error: Exception) -> bool:
    """Return whether another attempt would fail as well.

    Examples:
        >>> is_final(PermissionError()), is_final(TimeoutError())
        (True, False)
    """
    return isinstance(error, _FINAL) or (isinstance(error, OSError) and error.errno in _FINAL_NUMBERS)


def _lacks_credentials(error: Exception) -> bool:
    # Each client library has an error of its own for that, and all are named after it.
    return any("Credential" in kind.__name__ for kind in type(error).__mro__)


def wait(pause_s: float) -> None:
    """Wait; a signal that has arrived meanwhile is handled at the end."""
    time.sleep(pause_s)
    deferred_signals().handle()
