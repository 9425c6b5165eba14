"""What users' objects remember by themselves, without a `state_dict`: counts, lists that they shuffle further."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from camshaft.deterministic._kept_array import PLAIN, NotKept
from camshaft.deterministic._kept_value import Kept, has_value, keep, renewed, token_of
from camshaft.deterministic._variable import Variable, holders_of, variable_named, variables_of
from camshaft.engine import EngineWarning

_OTHER = object()  # stands for values that cannot be kept
_ABSENT = object()

# Of each object, by its number: its changing variables, each as [value], or as [] where it does not exist.
Remembered: TypeAlias = dict[str, dict[str, list[Kept]]]


class _Value(NamedTuple):
    """The value of a variable as it was when it was looked at.

    Attributes:
        token: what changes with the value.
        kept: a copy, in a form that loads safely; or `_OTHER`.
    """

    token: Any
    kept: Any


class FetchedCounts:
    """What some objects count, before and after a fetch.

    Attributes:
        before, after: of each object, its attributes; `_OTHER` for values that are not plain.
    """

    __slots__ = ("after", "before")

    def __init__(self, before: list[dict[str, Any]]) -> None:
        self.before = self.after = before


class ObjectMemory:
    """Saves the variables of some objects that change while a run goes on, such as `self.epoch += 1`.

    An object that counts its own epochs, or shuffles the same list further in each, goes on with that in a resumed run
    only if somebody saves it. What never changes is configuration, and is left alone. What has changed once is saved
    from then on, and put back. That a variable changes is remembered as long as its object lives, so that a state saved
    before takes it back as well. Where a value cannot be kept that has changed, writing warns, once. Values of which
    nobody can tell whether they change, such as iterators, are left alone.

    Args:
        owners: the objects; so are the objects of the user's own classes that they have inside.
        closed: objects that are not looked into.
        is_watching: whether every change counts; False: only those inside `watching`.
    """

    def __init__(self, owners: Sequence[Any], closed: Sequence[Any] = (), *, is_watching: bool = True) -> None:
        self._owners = [owner for owner in owners if hasattr(owner, "__dict__") or hasattr(type(owner), "__slots__")]
        self._closed = closed
        self._is_watching = is_watching
        self._histories = [_history_of(owner) for owner in self._owners]
        self._seen: list[dict[str, _Value]] = [{} for _ in self._owners]
        self._seen = self._at_start = self._read()

    def begin_pass(self) -> None:
        """Note what the objects remember as a pass begins."""
        self._look()
        self._at_start = self._seen

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what changes inside a block."""
        self._look()
        was_watching, self._is_watching = self._is_watching, True
        try:
            yield
            self._look()
        finally:
            self._is_watching = was_watching

    def at_start(self) -> Remembered | None:
        """Return what they remembered as the pass began; None where there is no object that could remember."""
        self._look()
        return self._written(self._at_start)

    def now(self) -> Remembered | None:
        """Return what they remember now; None where there is no object that could remember."""
        self._look()
        return self._written(self._seen)

    def learned(self) -> Remembered | None:
        """Return what is remembered otherwise than at the start of the pass; None where that is nothing."""
        self._look()
        befores = [history.before for history in self._histories]
        other: list[dict[str, list[Kept]]] = [
            {name: _boxed(now, name) for name in before if _has_changed(start.get(name), now.get(name))}
            for before, start, now in zip(befores, self._at_start, self._seen, strict=True)
        ]
        return {str(number): each for number, each in enumerate(other) if each} or None

    def restore_learned(self, saved: Mapping[str, Mapping[str, Sequence[Kept]]] | None) -> None:
        """Set what `learned` returned, but for what drawing has changed by now: the samplers change that themselves."""
        if saved is None:
            return
        self._look()
        for number, owner in enumerate(self._owners):
            start, now = self._at_start[number], self._seen[number]
            holders = holders_of(owner, self._closed)
            for name, boxed in saved.get(str(number), {}).items():
                if not _has_changed(start.get(name), now.get(name)):
                    self._histories[number].before.setdefault(name, _boxed(start, name))
                    self._put(owner, name, holders, boxed)
        self._seen = self._read()

    @property
    def counter(self) -> ObjectMemory:
        """What takes back what an early fetch has counted: this object itself."""
        return self

    def read_counts(self) -> FetchedCounts:
        """Return what the objects count, before a fetch: plain values in attributes of their own.

        That is cheap enough for every batch.
        """
        return FetchedCounts(self._plain_values())

    def note_fetched(self, counts: FetchedCounts) -> None:
        """Note what the fetch has changed since `read_counts`."""
        counts.after = self._plain_values()

    def put_counts_back(self, counts: FetchedCounts) -> None:
        """Take back what the fetch has changed, but for what somebody else has set since."""
        for owner, before, after in zip(self._owners, counts.before, counts.after, strict=True):
            own = getattr(owner, "__dict__", {})
            for name in [
                name for name in after if own.get(name, _OTHER) is after[name] is not before.get(name, _ABSENT)
            ]:
                if name not in before:
                    del own[name]
                elif before[name] is not _OTHER:
                    own[name] = before[name]

    def _plain_values(self) -> list[dict[str, Any]]:
        return [
            {name: value if type(value) in PLAIN else _OTHER for name, value in getattr(owner, "__dict__", {}).items()}
            for owner in self._owners
        ]

    def restore(self, saved: Mapping[str, Mapping[str, Sequence[Kept]]] | None) -> None:
        """Set what was saved; None says that nothing was. What has changed since then goes back to its start."""
        if saved is None:
            return
        self._look()
        for number, (owner, history) in enumerate(zip(self._owners, self._histories, strict=True)):
            before, values = history.before, saved.get(str(number), {})
            for name in values.keys() - before.keys():
                before[name] = _boxed(self._seen[number], name)
            holders = holders_of(owner, self._closed)
            for name, boxed in before.items():
                self._put(owner, name, holders, values.get(name, boxed))
        self._seen = self._at_start = self._read()

    def _put(self, owner: Any, name: str, holders: dict[str, Any], boxed: Sequence[Kept]) -> None:
        if not _set(variable_named(name, holders), boxed):
            _warn(
                f"`{name}` of {type(owner)} is not there, or of another type, so its saved value is lost. If "
                "batches depend on it, make it in `__init__`, or give the class state_dict and load_state_dict"
            )

    def _read(self) -> list[dict[str, _Value]]:
        return [
            {name: _value_of(each, seen.get(name)) for name, each in variables.items()}
            for seen, variables in zip(self._seen, map(self._variables_of, self._owners), strict=True)
        ]

    def _variables_of(self, owner: Any) -> dict[str, Variable]:
        return variables_of(holders_of(owner, self._closed))

    def _look(self) -> None:
        """Note what has changed since the last look, and what it was before."""
        seen, self._seen = self._seen, self._read()
        if not self._is_watching:
            return
        for history, then, now in zip(self._histories, seen, self._seen, strict=True):
            for name in then.keys() | now.keys():
                history.note(name, then.get(name), now.get(name))

    def _written(self, values: Sequence[Mapping[str, _Value]]) -> Remembered | None:
        if not self._owners:
            return None
        for owner, history, each in zip(self._owners, self._histories, values, strict=True):
            for name in history.lacking(each):
                _warn(
                    f"`{name}` of {type(owner)} changes while data is drawn, and cannot be saved: a resumed run begins "
                    "with what it is at first. If batches depend on it, give the class state_dict and load_state_dict"
                )
        kept = [
            {name: _boxed(each, name) for name in history.before if name not in each or each[name].kept is not _OTHER}
            for history, each in zip(self._histories, values, strict=True)
        ]
        return {str(number): each for number, each in enumerate(kept) if each}


def remembers_by_itself(part: Any) -> bool:
    """Return whether an object may remember by itself: it is of the user's own class, and saves no state."""
    kind = type(part)
    return (hasattr(part, "__dict__") or hasattr(kind, "__slots__")) and not kind.__module__.startswith(
        ("torch.", "camshaft.", "builtins")
    )


def _value_of(variable: Variable, seen: _Value | None) -> _Value:
    value = variable.read()
    if type(value) in PLAIN:
        return _Value((type(value), value), value)
    if not has_value(value):
        return _Value(_OTHER, _OTHER)
    token = token_of(value)
    if seen is not None and seen.token == token:
        return seen
    try:
        return _Value(token, keep(value))
    except NotKept:
        return _Value(token, _OTHER)


def _has_changed(before: _Value | None, now: _Value | None) -> bool:
    """Return whether a variable has changed, has come or is gone; only values that can be kept are looked at."""
    if any(value is not None and value.kept is _OTHER for value in (before, now)):
        return False
    return (None if before is None else before.token) != (None if now is None else now.token)


def _boxed(values: Mapping[str, _Value], name: str) -> list[Kept]:
    return [values[name].kept] if name in values and values[name].kept is not _OTHER else []


def _set(variable: Variable | None, boxed: Sequence[Kept]) -> bool:
    """Give a variable the value that was kept, if that can be done; in place where others may refer to it."""
    if variable is None:
        return not boxed
    if not boxed:
        variable.remove()
        return True
    try:
        present = variable.read()
    except (AttributeError, LookupError):
        present = None
    try:
        new = renewed(present, boxed[0])
    except NotKept:
        return False
    if new is not present:
        variable.write(new)
    return True


def _warn(text: str) -> None:
    warnings.warn(text, EngineWarning, stacklevel=4)


@dataclass
class _History:
    """What is known of an object in this process.

    Attributes:
        before: the variables that change, with their values before the first change.
        not_kept: those that have changed and cannot be kept, as they were before.
        told: the names of those that were told.
    """

    before: dict[str, list[Any]] = field(default_factory=dict)
    not_kept: dict[str, _Value | None] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)

    def note(self, name: str, then: _Value | None, now: _Value | None) -> None:
        """Note what a variable was and is; None: it was not or is not there."""
        tokens = [None if value is None else value.token for value in (then, now)]
        if tokens[0] == tokens[1] or _OTHER in tokens:
            return
        if not _has_changed(then, now):
            self.not_kept.setdefault(name, then)
        else:
            self.before.setdefault(name, [] if then is None else [then.kept])

    def lacking(self, values: Mapping[str, _Value]) -> list[str]:
        """Return what has changed and is not in these values, each name once."""
        found = [
            name
            for name, before in self.not_kept.items()
            if name in values and values[name].kept is _OTHER and name not in self.told
            if before is None or values[name].token != before.token
        ]
        self.told.update(found)
        return found


# Of each object that was looked at, by its id: a reference that removes the entry, and what is known of it.
_known: dict[int, tuple[weakref.ref[Any], _History]] = {}


def _history_of(owner: Any) -> _History:
    known = _known.get(id(owner))
    if known is not None and known[0]() is owner:
        return known[1]
    number = id(owner)
    history = _History()
    try:
        reference = weakref.ref(owner, lambda gone: _forget(number, gone))
    except TypeError:  # a class that allows no references: known to this run only
        return history
    _known[number] = reference, history
    return history


def _forget(number: int, reference: weakref.ref[Any]) -> None:
    if number in _known and _known[number][0] is reference:
        del _known[number]
