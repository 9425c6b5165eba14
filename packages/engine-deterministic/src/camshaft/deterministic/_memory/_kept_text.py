"""Values that are kept as a text."""

from __future__ import annotations

import ast
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from camshaft.deterministic._memory._kept_array import NotKept


class _Written(NamedTuple):
    kind: type
    write: Callable[[Any], str]
    read: Callable[[str], Any]


# By the name of their type.
WRITTEN = {
    "complex": _Written(complex, repr, complex),
    "Fraction": _Written(Fraction, str, Fraction),
    "Decimal": _Written(Decimal, str, Decimal),
    "date": _Written(date, date.isoformat, date.fromisoformat),
    "datetime": _Written(datetime, datetime.isoformat, datetime.fromisoformat),
}


def is_written(value: Any) -> bool:
    """Return whether a value is of one of these types."""
    return any(type(value) is each.kind for each in WRITTEN.values())


def write_text(value: Any) -> str:
    """Return a value of such a type as a text.

    Raises:
        NotKept: the text lacks something, such as the name of a time zone.
    """
    written = WRITTEN[type(value).__name__]
    text = written.write(value)
    if repr(written.read(text)) != repr(value):
        raise NotKept
    return text


def read_count(value: Any) -> tuple[Any, ...]:
    """Return where an `itertools.count` stands, and its step: Python no longer copies it for us.

    Raises:
        NotKept: these are no plain numbers.
    """
    try:
        read = ast.literal_eval(f"({repr(value)[len('count(') : -1]},)")
    except (SyntaxError, ValueError) as error:
        raise NotKept from error
    return tuple(read)
