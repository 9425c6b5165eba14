"""Questions about a user's values that every package asks, answered once."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import index
from types import WrapperDescriptorType
from typing import Any, Protocol, TypeGuard

from camshaft.engine._errors import ArgumentError


class Stateful(Protocol):
    """Anything that saves and restores its own state."""

    def state_dict(self) -> Any:
        """Return the state, made of tensors, numbers, strings, lists and dicts."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take the state over."""


def is_integer(value: object) -> bool:
    """Return whether `value` is an integer of any kind: Python's, numpy's, a tensor with one element.

    A bool is none, of whatever library.

    Args:
        value: anything.

    Examples:
        >>> is_integer(3), is_integer(3.0), is_integer(True)
        (True, False, False)
    """
    if isinstance(value, bool) or "bool" in (type(value).__name__, str(getattr(value, "dtype", ""))[-4:]):
        return False
    try:
        index(value)  # type: ignore[arg-type]  # the question is just whether it can be one
    except (TypeError, ValueError):
        return False
    return True


def as_integer(name: str, value: object, least: int | None = None) -> int:
    """Return `value` as an int, or refuse it.

    Args:
        name: the argument that it was given for, for the text of the error.
        value: an integer of any kind.
        least: the smallest value that is allowed; None for no limit.

    Raises:
        ArgumentError: `value` is no integer (a bool is none), or it is too small.

    Examples:
        >>> as_integer("patience", 3, least=1)
        3
    """
    if is_integer(value):
        number = index(value)  # type: ignore[arg-type]  # asked above
        if least is None or number >= least:
            return number
    rule = "an integer" if least is None else f"an integer of at least {least}"
    raise ArgumentError(f"`{name}` must be {rule}, got {value!r}")


def has_state(value: object) -> TypeGuard[Stateful]:
    """Return whether `value` saves and restores its own state, with `state_dict` and `load_state_dict`.

    Args:
        value: anything; a class is none, even if its instances do.
    """
    if isinstance(value, type):
        return False
    return callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None))


def is_sequence(data: object) -> bool:
    """Return whether iterating over `data` is known to be the same as indexing it with 0, 1, ... up to its length.

    It is for lists, tuples, ranges, arrays and other types whose iteration Python or a library in C provides,
    for a `collections.abc.Sequence` that keeps its `__iter__`, and for a class without `__iter__`, which Python
    iterates by its `__getitem__`. A class with an `__iter__` of its own may do anything in it, and a mapping is none.
    Nor is a type of a library in C without `__iter__`: it may be iterated in another way than it is indexed, as
    `mmap.mmap` is.

    Args:
        data: anything; it is not iterated.

    Examples:
        >>> is_sequence([1, 2]), is_sequence({1: 2}), is_sequence(iter([1, 2]))
        (True, False, False)
    """
    kind = type(data)
    if not (hasattr(kind, "__len__") and hasattr(kind, "__getitem__")) or isinstance(data, Mapping):
        return False
    iterate = getattr(kind, "__iter__", None)
    if iterate is None:  # Python then iterates by a `__getitem__` that is written in Python
        return not isinstance(kind.__getitem__, WrapperDescriptorType)
    return iterate is Sequence.__iter__ or isinstance(iterate, WrapperDescriptorType)


def length_of(data: object) -> int | None:
    """Return how many items `data` says it has, None when it does not know.

    Whatever error its `len()` raises, the answer is None: data may learn its length later, or leave it to
    another library that raises errors of its own.

    Args:
        data: anything.
    """
    if data is not None and hasattr(type(data), "__len__"):
        with suppress(Exception):
            return len(data)  # type: ignore[arg-type]  # asked above
    return None


def imported(name: str) -> Any:
    """Return a module if it has been imported; None if not, or if a thread is still at it.

    So a package asks whether an object is of a library that it does not want to import: where there is such an object,
    the library is there.

    Args:
        name: its dotted name.

    Examples:
        >>> imported("json.no_such_module") is None
        True
    """
    module = sys.modules.get(name)
    is_half_there = getattr(getattr(module, "__spec__", None), "_initializing", False)  # as importlib asks
    return None if is_half_there else module
