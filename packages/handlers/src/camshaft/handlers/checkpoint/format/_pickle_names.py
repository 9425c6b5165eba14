"""Finding out which classes and functions a pickle names, without unpickling it."""

from __future__ import annotations

import functools
import pickletools
import re
import struct

# What a pickle of PyTorch consists of, and `torch.load(weights_only=True)` carries out; beside names, long texts and
# long integers. Their arguments have a fixed length, or none.
_NAMES_NOTHING = {
    "PROTO", "NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "BINFLOAT", "BINPERSID",
    "MARK", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT",
    "SETITEM", "SETITEMS", "NEWOBJ", "REDUCE", "BUILD", "BINGET", "LONG_BINGET", "BINPUT", "LONG_BINPUT",
}  # fmt: skip
_LENGTHS = {b"X": struct.Struct("<I"), b"\x8a": struct.Struct("<B")}  # BINUNICODE and LONG1 begin with theirs
_SHORT_TEXT_BYTES = 128
_GLOBAL = re.compile(rb"c([^\n]*)\n([^\n]*)\n")


def names_in_pickle(pickled: bytes) -> set[tuple[str, str]] | None:
    """Return module and name of every class and function that a pickle names.

    That of many small tensors has millions of operations. One regular expression skips those that name nothing; to
    unpickle them, with something else in the place of each class, would take four times as long.

    Args:
        pickled: A pickle.

    Returns:
        The names, or None if it is garbled, or has operations that PyTorch does not carry out without trusting it: such
        of other protocols than 2, or an integer of 256 bytes.

    Examples:
        >>> import fractions, pickle
        >>> names_in_pickle(pickle.dumps([fractions.Fraction(1, 2), "text"], protocol=2))
        {('fractions', 'Fraction')}
    """
    found: set[tuple[str, str]] = set()
    skip, at = _that_names_nothing().match, 0
    try:
        while True:
            at = skip(pickled, at).end()  # type: ignore[union-attr]  # it matches, be it nothing
            code = pickled[at : at + 1]
            if code == b".":
                return found
            if (named := _GLOBAL.match(pickled, at)) is not None:
                found.add((named[1].decode(), named[2].decode()))
                at = named.end()
            else:
                length = _LENGTHS[code]
                at += 1 + length.size + length.unpack_from(pickled, at + 1)[0]
    except (KeyError, ValueError, struct.error):
        return None


@functools.cache
def _that_names_nothing() -> re.Pattern[bytes]:
    """Return what matches as many operations as possible that name nothing, short texts among them."""
    codes: dict[int, list[bytes]] = {}
    for operation in pickletools.opcodes:
        if operation.name in _NAMES_NOTHING:
            size = 0 if operation.arg is None else operation.arg.n
            codes.setdefault(size, []).append(re.escape(operation.code.encode("latin-1")))
    ways = [b"[%s].{%d}" % (b"".join(each), size) for size, each in codes.items()]
    texts = (re.escape(struct.pack("<I", size)) + b".{%d}" % size for size in range(_SHORT_TEXT_BYTES))
    ways.append(b"X(?:%s)" % b"|".join(texts))  # keys, and the names of storages
    return re.compile(b"(?>%s)*+" % b"|".join(ways), re.DOTALL)
