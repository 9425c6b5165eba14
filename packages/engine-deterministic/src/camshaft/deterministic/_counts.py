"""Plain numbers that users' objects count by themselves, without a `state_dict`."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

_PLAIN = (bool, int, float, str, type(None))
_OTHER = object()  # stands for values that are not plain: nobody counts with them

# Of each object, by its number: its counted attributes, each as [value], or as [] where it does not exist.
Counted: TypeAlias = dict[str, dict[str, list[Any]]]


class Counts:
    """Saves the plain attributes of some objects that change while a run goes on, such as `self.epoch += 1`.

    An object that counts its own epochs, say, goes on counting in a resumed run only if somebody saves the
    count. What never changes is configuration, and is left alone. What has changed once is saved from then on. That an
    object counts something is remembered as long as it lives, so that a state saved before takes it back as well.

    Args:
        owners: the objects; their numbers, strings, bools and None are looked at.
    """

    def __init__(self, owners: Sequence[Any]) -> None:
        self._owners = [owner for owner in owners if hasattr(owner, "__dict__")]
        self._before = [_before_changes(owner) for owner in self._owners]
        self._seen = self._at_start = self._read()

    def begin_pass(self) -> None:
        """Note what the objects have counted as a pass begins."""
        self._look()
        self._at_start = self._seen

    def at_start(self) -> Counted | None:
        """Return the counts as the pass began; None where there is no object that could count."""
        self._look()
        return self._written(self._at_start)

    def now(self) -> Counted | None:
        """Return the counts as they are; None where there is no object that could count."""
        self._look()
        return self._written(self._seen)

    def read_counts(self) -> Counted | None:
        """Return the counts as they are."""
        return self.now()

    def put_counts_back(self, counts: Counted | None) -> None:
        """Put back what `read_counts` returned."""
        self.restore(counts)

    def restore(self, saved: Mapping[str, Mapping[str, Sequence[Any]]] | None) -> None:
        """Set what was saved; None says that nothing was. What has begun to count since then goes back to its start."""
        if saved is None:
            return
        self._look()
        for number, (owner, before) in enumerate(zip(self._owners, self._before, strict=True)):
            counts = saved.get(str(number), {})
            for name in counts.keys() - before.keys():
                before[name] = _boxed(vars(owner), name)
            for name, boxed in before.items():
                _set(owner, name, counts.get(name, boxed))
        self._seen = self._at_start = self._read()

    def _read(self) -> list[dict[str, Any]]:
        return [{name: _plain(value) for name, value in vars(each).items()} for each in self._owners]

    def _look(self) -> None:
        """Note what has changed since the last look, and what it was before."""
        seen, self._seen = self._seen, self._read()
        for before, then, now in zip(self._before, seen, self._seen, strict=True):
            for name in then.keys() | now.keys():
                if _counts(_boxed(then, name), _boxed(now, name)):
                    before.setdefault(name, _boxed(then, name))

    def _written(self, values: Sequence[Mapping[str, Any]]) -> Counted | None:
        if not self._owners:
            return None
        counts = [
            {name: _boxed(each, name) for name in before if each.get(name) is not _OTHER}
            for before, each in zip(self._before, values, strict=True)
        ]
        return {str(number): each for number, each in enumerate(counts) if each}


def counts_by_itself(part: Any) -> bool:
    """Return whether an object may count for itself: it is of the user's own class, and saves no state."""
    return hasattr(part, "__dict__") and not type(part).__module__.startswith(("torch.", "camshaft."))


def _plain(value: Any) -> Any:
    return value if type(value) in _PLAIN else _OTHER


def _counts(before: list[Any], now: list[Any]) -> bool:
    """Return whether an attribute has changed from one plain value to another, one that is not there included."""
    if any(value is _OTHER for value in (*before, *now)):
        return False
    return before != now or [*map(type, before)] != [*map(type, now)]


def _boxed(attributes: Mapping[str, Any], name: str) -> list[Any]:
    return [attributes[name]] if name in attributes else []


def _set(owner: Any, name: str, boxed: Sequence[Any]) -> None:
    if boxed:
        vars(owner)[name] = boxed[0]
    else:
        vars(owner).pop(name, None)


# Of each object that was looked at, by its id: a reference that removes the entry, and the values before the changes.
_known: dict[int, tuple[weakref.ref[Any], dict[str, list[Any]]]] = {}


def _before_changes(owner: Any) -> dict[str, list[Any]]:
    """Return what is known of an object in this process: the attributes that it counts, with their values before."""
    known = _known.get(id(owner))
    if known is not None and known[0]() is owner:
        return known[1]
    number = id(owner)
    before: dict[str, list[Any]] = {}
    try:
        reference = weakref.ref(owner, lambda gone: _forget(number, gone))
    except TypeError:  # a class that allows no references: known to this run only
        return before
    _known[number] = reference, before
    return before


def _forget(number: int, reference: weakref.ref[Any]) -> None:
    if number in _known and _known[number][0] is reference:
        del _known[number]
