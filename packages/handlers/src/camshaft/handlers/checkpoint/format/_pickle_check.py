"""Checking a pickle before it is unpickled: what would use up memory is refused.

`torch.load(weights_only=True)` runs no foreign code. It still makes objects as large as the pickle
says: a `bytearray` of any length, or a tensor of repeated values copied to full size. Nothing that
we write needs either.
"""

from __future__ import annotations

import pickletools
from typing import Any

from camshaft.handlers.checkpoint._errors import CheckpointDamagedError, CheckpointError, CheckpointUnsafeError

_BYTEARRAYS = {"builtins bytearray", "__builtin__ bytearray"}
# Both copy a tensor, which may be a few bytes seen as terabytes.
_COPIERS = (b"_rebuild_device_tensor_from_cpu_tensor", b"_rebuild_device_tensor_from_numpy")
_UNKNOWN = object()
_UNKNOWN_ARGUMENTS = object()
_MARK = object()


class _Name(str):
    """The name of a class or function, as opposed to a string."""

    __slots__ = ()


def require_bounded_memory(pickled: bytes) -> None:
    """Raise if unpickling would take much more memory than the pickle.

    Raises:
        CheckpointUnsafeError: it would.
        CheckpointDamagedError: it is no pickle.

    Examples:
        >>> import pickle
        >>> require_bounded_memory(pickle.dumps({"state": bytearray(b"few")}, protocol=2))
    """
    for copier in _COPIERS:
        if copier in pickled:
            raise CheckpointUnsafeError(f"it calls {copier.decode()!r}, which may take any amount of memory")
    if b"bytearray" in pickled:
        try:
            _follow_bytearrays(pickled)
        except CheckpointError:
            raise
        except (ValueError, IndexError, KeyError) as error:
            raise CheckpointDamagedError(f"its pickle is garbled: {error}") from error


def _follow_bytearrays(pickled: bytes) -> None:
    """Run the pickle on placeholders, and look at what every `bytearray` is made of."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for operation, argument, _ in pickletools.genops(pickled):
        name = operation.name
        if name in {"REDUCE", "NEWOBJ"}:
            _require_short(stack[-2], stack[-1] if isinstance(stack[-1], tuple) else _UNKNOWN_ARGUMENTS)
        if name in {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}:
            memo[argument if isinstance(argument, int) else len(memo)] = stack[-1]
        elif name in {"GET", "BINGET", "LONG_BINGET"} and isinstance(argument, int):
            stack.append(memo[argument])
        else:
            taken = _take(stack, operation.stack_before)
            stack.extend(_result(name, argument, taken) for _ in operation.stack_after)


def _take(stack: list[Any], before: list[pickletools.StackObject]) -> list[Any]:
    """Take what an operation consumes off the stack."""
    if pickletools.markobject not in before:
        taken = stack[len(stack) - len(before) :]
        del stack[len(stack) - len(before) :]
        return taken
    at = len(stack) - 1 - stack[::-1].index(_MARK)
    taken = stack[at + 1 :]
    del stack[at - before.index(pickletools.markobject) :]
    return taken


def _result(name: str, argument: Any, taken: list[Any]) -> Any:
    if name == "MARK":
        return _MARK
    if name == "GLOBAL":
        return _Name(argument)
    if name == "STACK_GLOBAL":
        return _Name(" ".join(str(part) for part in taken))
    if name == "REDUCE" and taken[0] == _Name("_codecs encode"):
        return b""  # how bytes are pickled
    if name in {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_TUPLE"}:
        return tuple(taken)
    return argument if isinstance(argument, str | bytes) else _UNKNOWN


def _require_short(function: Any, arguments: Any) -> None:
    """Raise if a call makes a `bytearray` from anything but text of its own length, or hands the class on."""
    is_bytearray = isinstance(function, _Name) and function in _BYTEARRAYS
    is_text = isinstance(arguments, tuple) and all(
        isinstance(part, str | bytes) and not isinstance(part, _Name) for part in arguments
    )
    if _holds_bytearray(arguments) or (is_bytearray and not is_text):
        raise CheckpointUnsafeError("it makes a bytearray from something else than its content")


def _holds_bytearray(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(_holds_bytearray(part) for part in value)
    # What is no tuple here may be a list, which could hold anything.
    return value is _UNKNOWN_ARGUMENTS or (isinstance(value, _Name) and value in _BYTEARRAYS)
