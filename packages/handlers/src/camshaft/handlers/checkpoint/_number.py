"""What users' functions return as scores and steps, as plain numbers."""

from __future__ import annotations

import math
import operator
from contextlib import suppress
from typing import Any

from camshaft.engine import ArgumentError, ArgumentTypeError

_LARGEST = 1 << 1000  # beyond it an integer has no float, and soon no text


def as_score(value: Any) -> float:
    """Return a score as an int or a float; tensors and arrays of one element are taken as their number.

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
    return number


def as_step(value: Any) -> float:
    """Return a step as an int, or a float if it is one.

    Raises:
        ArgumentError: it is no finite number.
    """
    number = None if isinstance(value, bool) else _as_number(value)
    if number is None or not math.isfinite(number):
        raise ArgumentError(f"`global_step_transform` must return an integer, got {value!r}; return the step's number")
    return number


def as_limit(value: Any) -> int | None:
    """Return how many checkpoints to keep, None for all of them.

    Raises:
        ArgumentTypeError: it is no integer.
        ArgumentError: it is less than 1.
    """
    if value is None:
        return None
    try:
        limit = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        limit = None
    if limit is None:
        raise ArgumentTypeError(f"`n_saved` must be an integer or None, got {value!r}; None keeps all checkpoints")
    if limit < 1:
        raise ArgumentError(f"`n_saved` must be at least 1, got {value!r}; None keeps all checkpoints")
    return limit


def _as_number(value: Any) -> float | None:
    """Return a plain int or float, None if there is no such number."""
    with suppress(TypeError, ValueError, RuntimeError):  # tensors raise any of them
        number = operator.index(value)
        return number if abs(number) < _LARGEST else math.inf if number > 0 else -math.inf
    if isinstance(value, str | bytes) or value is None:
        return None
    item = getattr(value, "item", None)
    try:
        plain = item() if callable(item) else value
        if isinstance(plain, bool):
            return int(plain)
        return plain if isinstance(plain, int) else float(plain)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
