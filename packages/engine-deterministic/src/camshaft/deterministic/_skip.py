"""Batches that are left out of their passes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import TypeAlias

from camshaft.engine import ArgumentError, ArgumentTypeError, is_integer

# Places of batches: (pass, number of the batch in it), both from 0.
Skip: TypeAlias = frozenset[tuple[int, int]]


def kept_numbers(skip: Skip, data_pass: int, first: int) -> Iterator[int]:
    """Yield the numbers of the batches of a pass that are not left out, from number `first` on, without an end."""
    return (number for number in count(first) if (data_pass, number) not in skip)


def next_kept(skip: Skip, data_pass: int, number: int) -> int:
    """Return the number of the first batch from `number` on that is not left out."""
    while (data_pass, number) in skip:
        number += 1
    return number


def as_skip(places: object) -> Skip:
    """Return places of batches as a set, or refuse them.

    Raises:
        ArgumentTypeError: not something to iterate over.
        ArgumentError: an entry is not a pair of integers of at least 0.

    Examples:
        >>> as_skip([(0, 7)])
        frozenset({(0, 7)})
    """
    if not isinstance(places, Iterable):
        raise ArgumentTypeError(f"`skip` must be a collection of pairs (epoch, index), got {places!r}")
    if isinstance(places, tuple | list) and len(places) == 2 and all(map(is_integer, places)):
        pair = tuple(places)
        raise ArgumentError(f"`skip` must hold pairs (epoch, index), got {places!r}; write [{pair!r}]")
    found = set()
    for place in places:
        parts = tuple(place) if isinstance(place, tuple | list) else ()
        if len(parts) != 2 or not all(is_integer(part) and int(part) >= 0 for part in parts):
            raise ArgumentError(f"`skip` must hold pairs (epoch, index) of integers of at least 0, got {place!r}")
        found.add((int(parts[0]), int(parts[1])))
    return frozenset(found)
