"""What counts as a number: those of numpy do, True and False do not."""

from __future__ import annotations

import sys
from numbers import Integral, Real
from typing import Any


def is_integer(value: object) -> bool:
    """Tell whether `value` is an integer of any kind.

    Examples:
        >>> is_integer(3), is_integer(3.0), is_integer(True)
        (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Tell whether `value` is a real number of any kind.

    Examples:
        >>> is_number(3.5), is_number("3.5"), is_number(True)
        (True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def is_tensor(value: Any) -> bool:
    """Tell whether `value` is a tensor; where torch was never imported nothing is."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_single_number(value: Any) -> bool:
    """Tell whether `value` is a number or a tensor with one element."""
    return bool(value.numel() == 1) if is_tensor(value) else isinstance(value, Real)


def to_number(value: Any) -> float:
    """Return a single number as a float; a tensor may be part of a graph, and its device is waited for."""
    return float(value.detach() if is_tensor(value) else value)
