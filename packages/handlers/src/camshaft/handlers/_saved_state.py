"""Checks of what `load_state_dict` is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camshaft.engine import ArgumentError, StateDictError, as_integer


def require_keys(state_dict: Any, *keys: str) -> list[Any]:
    """Return the values of a saved state, in the order of its keys.

    Args:
        state_dict: what was given.
        *keys: the keys that it must have, and no others.

    Raises:
        StateDictError: it is not a mapping, or it has other keys.

    Examples:
        >>> require_keys({"b": 2, "a": 1}, "a", "b")
        [1, 2]
    """
    if not isinstance(state_dict, Mapping) or set(state_dict) != set(keys):
        expected = " and ".join(map(repr, keys))
        raise StateDictError(f"`state_dict` must have {expected}, and nothing else, got {state_dict!r}")
    return [state_dict[key] for key in keys]


def require_integer(key: str, value: Any, least: int = 0) -> int:
    """Return an entry of a saved state as an int.

    Args:
        key: its name, for the error.
        value: what was given.
        least: the smallest value that is allowed.

    Raises:
        StateDictError: it is not an integer, or it is too small.
    """
    try:
        return as_integer(key, value, least)
    except ArgumentError as error:
        raise StateDictError(str(error)) from None
