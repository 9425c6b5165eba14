"""Single numbers, whether they are Python's, numpy's or tensors. `camshaft.engine` has the check for integers."""

from __future__ import annotations

from numbers import Real
from typing import Any

from camshaft.engine import imported


def is_number(value: object) -> bool:
    """Return whether `value` is a real number of any kind; a bool is none.

    Args:
        value: anything.

    Examples:
        >>> is_number(3.5), is_number("3.5"), is_number(True)
        (True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def is_tensor(value: Any) -> bool:
    """Return whether `value` is a tensor; where torch was never imported nothing is.

    Args:
        value: anything.
    """
    torch = imported("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_single_number(value: Any) -> bool:
    """Return whether `value` is a number, or a tensor with one element.

    Args:
        value: anything.
    """
    return bool(value.numel() == 1) if is_tensor(value) else isinstance(value, Real)


def to_number(value: Any) -> float:
    """Return a single number as a float. For a tensor this waits for its device.

    Args:
        value: a number, or a tensor with one element, which may be part of a graph.
    """
    return float(value.detach() if is_tensor(value) else value)
