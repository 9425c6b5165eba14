"""Finding out which classes and functions a pickle names, without unpickling it."""

from __future__ import annotations

import functools
import pickletools
import re
import struct

# What an operation takes its name from lies elsewhere: on the stack, or in a registry of the process.
_NAMES_FROM_ELSEWHERE = {"STACK_GLOBAL", "EXT1", "EXT2", "EXT4"}
_ENDS_WITH_LINE = pickletools.UP_TO_NEWLINE
_LENGTHS = {
    pickletools.TAKEN_FROM_ARGUMENT1: struct.Struct("<B"),
    pickletools.TAKEN_FROM_ARGUMENT4: struct.Struct("<I"),
    pickletools.TAKEN_FROM_ARGUMENT4U: struct.Struct("<I"),
    pickletools.TAKEN_FROM_ARGUMENT8U: struct.Struct("<Q"),
}
_SHORT_TEXT_BYTES = 128
_NAMED = re.compile(rb"[ci]([^\n]*)\n([^\n]*)\n")  # GLOBAL and INST
_OPERATIONS = {operation.code.encode("latin-1"): operation for operation in pickletools.opcodes}


def names_in_pickle(pickled: bytes) -> set[tuple[str, str]] | None:
    """Return module and name of every class and function that a pickle names, None if that cannot be told.

    That of many small tensors has millions of operations. One regular expression skips those that name nothing; to
    unpickle them, with something else in the place of each class, would take four times as long.

    Args:
        pickled: A pickle, of any protocol. From protocol 4 on names may come from the stack: that cannot be told.

    Examples:
        >>> import fractions, pickle
        >>> names_in_pickle(pickle.dumps([fractions.Fraction(1, 2), "text"], protocol=2))
        {('fractions', 'Fraction')}
    """
    found: set[tuple[str, str]] = set()
    at = 0
    try:
        while (code := pickled[(at := _skip(pickled, at)) : at + 1]) != b".":
            if (named := _NAMED.match(pickled, at)) is not None:
                found.add((named[1].decode(), named[2].decode()))
                at = named.end()
            else:
                at = _end_of_argument(pickled, at, code)
    except (KeyError, ValueError, struct.error):  # it is garbled, or names something from elsewhere
        return None
    return found


def _skip(pickled: bytes, at: int) -> int:
    """Return where the next operation is that is not skipped by the regular expression."""
    skipped = _that_names_nothing().match(pickled, at)
    return at if skipped is None else skipped.end()


def _end_of_argument(pickled: bytes, at: int, code: bytes) -> int:
    """Return where an operation ends whose argument is a line, or begins with its length."""
    argument = _OPERATIONS[code].arg
    kind = None if argument is None else argument.n
    if kind == _ENDS_WITH_LINE:
        return pickled.index(b"\n", at) + 1
    length = _LENGTHS[kind]  # type: ignore[index]  # KeyError: what is left names something from elsewhere
    return at + 1 + length.size + int(length.unpack_from(pickled, at + 1)[0])


@functools.cache
def _that_names_nothing() -> re.Pattern[bytes]:
    """Return what matches as many operations as possible that have arguments of a fixed length, or short texts."""
    codes: dict[int, list[bytes]] = {}
    for code, operation in _OPERATIONS.items():
        size = 0 if operation.arg is None else operation.arg.n
        if size >= 0 and operation.name not in {"STOP", *_NAMES_FROM_ELSEWHERE}:
            codes.setdefault(size, []).append(re.escape(code))
    ways = [b"[%s].{%d}" % (b"".join(each), size) for size, each in codes.items()]
    texts = (re.escape(struct.pack("<I", size)) + b".{%d}" % size for size in range(_SHORT_TEXT_BYTES))
    ways.append(b"X(?:%s)" % b"|".join(texts))  # BINUNICODE, as keys and the names of storages are
    return re.compile(b"(?>%s)*+" % b"|".join(ways), re.DOTALL)
