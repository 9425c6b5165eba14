"""What is known of users' objects in this process: which of their variables change."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

OTHER = object()  # stands for values that cannot be kept


class Value(NamedTuple):
    """The value of a variable as it was when it was looked at.

    Attributes:
        token: what changes with the value; `OTHER` where nobody can tell soon enough.
        kept: a copy, in a form that loads safely; or `OTHER`.
        digest: a hash of one that cannot be kept, if it was taken.
        iterator: what stands for the value itself, if that is an iterator.
    """

    token: Any
    kept: Any
    digest: str | None = None
    iterator: Any = None


def has_changed(before: Value | None, now: Value | None) -> bool:
    """Return whether a variable has changed, has come or is gone; only values that can be kept are looked at."""
    if any(value is not None and value.kept is OTHER for value in (before, now)):
        return False
    return (None if before is None else before.token) != (None if now is None else now.token)


def _has_changed_inside(then: Value | None, now: Value | None) -> bool:
    """Return whether what cannot be kept has become another; what is made only now was not there to be another.

    An iterator has if it is the same one, which has gone on.
    """
    if then is None or now is None or now.digest is None or then.token == (type(None), None):
        return False
    return then.iterator is now.iterator and (then.digest or then.token) != now.digest


@dataclass
class History:
    """What is known of an object in this process.

    Attributes:
        before: the variables that change, with their values before the first change.
        not_kept: those that have changed and cannot be kept, as they were before.
        told: the names of those that were told.
        compared: the names of those that change inside passes and cannot be kept, where they are compared.
    """

    before: dict[str, list[Any]] = field(default_factory=dict)
    not_kept: dict[str, Value | None] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    compared: set[str] = field(default_factory=set)

    def note(self, name: str, then: Value | None, now: Value | None, *, is_inside: bool) -> None:
        """Note what a variable was and is, inside a pass or between two; None: it was not or is not there."""
        if is_inside and _has_changed_inside(then, now):
            self.compared.add(name)
        tokens = [None if value is None else value.token for value in (then, now)]
        if tokens[0] == tokens[1] or OTHER in tokens:
            return
        if not has_changed(then, now):
            self.not_kept.setdefault(name, then)
        else:
            self.before.setdefault(name, [] if then is None else [then.kept])

    def hashes(self, values: Mapping[str, Value]) -> dict[str, str]:
        """Return the hashes of what is compared, of these values."""
        found = {name: values[name].digest for name in sorted(self.compared) if name in values}
        return {name: digest for name, digest in found.items() if digest is not None}

    def lacking(self, values: Mapping[str, Value]) -> list[str]:
        """Return what has changed and is not in these values, each name once."""
        lacking = [name for name, each in values.items() if each.kept is OTHER and self._is_other(name, each)]
        found = [name for name in lacking if name not in self.told]
        self.told.update(found)
        return found

    def _is_other(self, name: str, value: Value) -> bool:
        before = self.not_kept.get(name)
        was_changed = name in self.not_kept and (before is None or value.token != before.token)
        return was_changed or name in self.compared


# Of each object that was looked at, by its id: a reference that removes the entry, and what is known of it.
_known: dict[int, tuple[weakref.ref[Any], History]] = {}


def history_of(owner: Any) -> History:
    known = _known.get(id(owner))
    if known is not None and known[0]() is owner:
        return known[1]
    number = id(owner)
    history = History()
    try:
        reference = weakref.ref(owner, lambda gone: _forget(number, gone))
    except TypeError:  # a class that allows no references: known to this run only
        return history
    _known[number] = reference, history
    return history


def _forget(number: int, reference: weakref.ref[Any]) -> None:
    if number in _known and _known[number][0] is reference:
        del _known[number]
