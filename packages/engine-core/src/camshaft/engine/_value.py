"""Questions about a user's values that every package asks, answered once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from operator import index
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from camshaft.engine._errors import ArgumentError

if TYPE_CHECKING:
    from inspect import Signature


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
    return all(callable(getattr(value, name, None)) for name in ("state_dict", "load_state_dict"))


def is_sequence(data: object) -> bool:
    """Return whether `data` has a length and items; a mapping is none.

    Args:
        data: anything.
    """
    kind = type(data)
    return hasattr(kind, "__len__") and hasattr(kind, "__getitem__") and not isinstance(data, Mapping)


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


def signature_of(function: Callable[..., Any]) -> Signature | None:
    """Return the signature of `function`, None for builtins that have none.

    Args:
        function: any callable.
    """
    # Imported here: inspect takes longer to load than all of this package.
    import inspect

    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        return None


def accepts(function: Callable[..., Any], *args: object, **kwargs: object) -> bool:
    """Return whether `function` can be called with these arguments, as far as its signature tells.

    Args:
        function: any callable; one without a signature accepts everything.
        args, kwargs: stand for the arguments of the call; only their number and names count.

    Examples:
        >>> accepts(lambda engine, batch: batch, None, None), accepts(lambda: 0, None)
        (True, False)
    """
    signature = signature_of(function)
    if signature is None:
        return True
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True
