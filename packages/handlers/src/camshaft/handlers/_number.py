"""What counts as a number: those of numpy do, True and False do not."""

from __future__ import annotations

from numbers import Integral, Real


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
