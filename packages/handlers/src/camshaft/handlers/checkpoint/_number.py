"""What users' functions return as scores and steps, as plain numbers."""

from __future__ import annotations

import math
from operator import index
from typing import Any

from camshaft.engine import ArgumentError, is_integer

_LARGEST = 1 << 1000  # a larger integer has no float, and soon no text


def as_score(value: Any) -> float:
    """Return a score as an int or a float.

    Args:
        value: What a score function returned: a number, or a tensor or an array with one element. A bool counts as 0
            or 1.

    Raises:
        ArgumentError: it is None or no real number.

    Examples:
        >>> as_score(3), as_score(True), as_score(float("inf"))
        (3, 1, inf)
    """
    number = _as_number(value)
    if number is None:
        raise ArgumentError(
            f"`score_function` must return a real number, got {value!r}; return an int, a float or a tensor with one "
            "element"
        )
    return int(number) if isinstance(number, bool) else number


def as_step(value: Any) -> float:
    """Return a step as an int, or as a float if it is one.

    Args:
        value: What a function for the step returned.

    Raises:
        ArgumentError: it is no finite number.
    """
    number = _as_number(value)
    if number is None or isinstance(number, bool) or not math.isfinite(number):
        raise ArgumentError(f"`global_step_transform` must return an integer, got {value!r}; return the step's number")
    return number


def _as_number(value: Any) -> float | None:
    """Return a plain int, float or bool, None if there is no such number."""
    if isinstance(value, str | bytes) or value is None:
        return None
    item = getattr(value, "item", None)
    try:
        if is_integer(value):
            number = index(value)
            return number if abs(number) < _LARGEST else math.inf if number > 0 else -math.inf
        plain = item() if callable(item) else value
        return plain if isinstance(plain, int) else float(plain)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
