"""What users' objects remember by themselves, without a `state_dict`: counts, lists that they shuffle further."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from camshaft.deterministic._memory._digest import digest_of
from camshaft.deterministic._memory._history import OTHER, History, Value, has_changed, history_of
from camshaft.deterministic._memory._kept_array import PLAIN, NotKept
from camshaft.deterministic._memory._kept_iterator import is_plain_iterator
from camshaft.deterministic._memory._kept_value import Kept, has_value, keep, renewed, token_of
from camshaft.deterministic._memory._variable import Variable, holders_of, variable_named, variables_of
from camshaft.engine import EngineWarning

_ABSENT = object()

# Of each object, by its number: its changing variables, each as [value], or as [] where it does not exist.
Remembered: TypeAlias = dict[str, dict[str, list[Kept]]]
# Of each object, by its number: hashes of its variables that change in passes and cannot be kept.
Unsaved: TypeAlias = dict[str, dict[str, str]]
# By names that people read: (saved, present).
Differing: TypeAlias = dict[str, tuple[str | None, str | None]]


class FetchedCounts:
    """What some objects count, before and after a fetch.

    Attributes:
        before, after: of each object, its attributes; `OTHER` for values that are not plain.
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
        compares: whether of what cannot be kept, and changes in passes, a hash is taken, to be compared.
    """

    def __init__(
        self, owners: Sequence[Any], closed: Sequence[Any] = (), *, is_watching: bool = True, compares: bool = False
    ) -> None:
        self._owners = [owner for owner in owners if hasattr(owner, "__dict__") or hasattr(type(owner), "__slots__")]
        self._closed = closed
        self._is_watching = is_watching
        self._compares = compares
        self._is_inside = False  # a pass
        self._histories = [history_of(owner) for owner in self._owners]
        self._seen: list[dict[str, Value]] = [{} for _ in self._owners]
        self._seen = self._at_start = self._read()

    def begin_pass(self) -> None:
        """Note what the objects remember as a pass begins."""
        self._look()
        self._at_start, self._is_inside = self._seen, True

    def end_pass(self) -> None:
        """Note what they remember as a pass has been drawn to its end: what changes next, the program changes."""
        self._look()
        self._is_inside = False

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

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Put back what a block changes."""
        self._look()
        before, at_start = self._seen, self._at_start
        yield
        self._look()
        self.restore(self._kept(before))
        self._at_start = at_start

    def at_start(self) -> Remembered | None:
        """Return what they remembered as the pass began; None where there is no object that could remember."""
        self._look()
        return self._written(self._at_start)

    def now(self) -> Remembered | None:
        """Return what they remember now; None where there is no object that could remember."""
        self._look()
        return self._written(self._seen)

    def inside(self) -> tuple[Remembered | None, Remembered | None]:
        """Return what `at_start` does, and what is remembered otherwise by now; None where that is nothing."""
        return self.at_start(), self._learned()

    def unsaved(self) -> Unsaved:
        """Return hashes of what is compared, as of the last look."""
        hashes = [history.hashes(each) for history, each in zip(self._histories, self._seen, strict=True)]
        return {str(number): each for number, each in enumerate(hashes) if each}

    def differing(self, saved: Unsaved) -> Differing:
        """Return of what `unsaved` returned then what is otherwise now, by name: (saved, present)."""
        for number, history in enumerate(self._histories):
            history.compared |= {*saved.get(str(number), ())}
        self._seen = self._read()
        present = self.unsaved()
        return {
            f"`{name}` of {type(owner).__qualname__}, which cannot be saved,": (text, now)
            for number, owner in enumerate(self._owners)
            for name, text in saved.get(str(number), {}).items()
            if text != (now := present.get(str(number), {}).get(name))
        }

    def _learned(self) -> Remembered | None:
        befores = [history.before for history in self._histories]
        other: list[dict[str, list[Kept]]] = [
            {name: _boxed(now, name) for name in before if has_changed(start.get(name), now.get(name))}
            for before, start, now in zip(befores, self._at_start, self._seen, strict=True)
        ]
        return {str(number): each for number, each in enumerate(other) if each} or None

    def restore_learned(self, saved: Mapping[str, Mapping[str, Sequence[Kept]]] | None) -> None:
        """Set what `inside` returned as learned, where the pass is drawn again as far as it was."""
        if saved is None:
            return
        self._look()
        for number, owner in enumerate(self._owners):
            holders = holders_of(owner, self._closed)
            for name, boxed in saved.get(str(number), {}).items():
                self._histories[number].before.setdefault(name, _boxed(self._at_start[number], name))
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
                name for name in after if own.get(name, OTHER) is after[name] is not before.get(name, _ABSENT)
            ]:
                if name not in before:
                    del own[name]
                elif before[name] is not OTHER:
                    own[name] = before[name]

    def _plain_values(self) -> list[dict[str, Any]]:
        return [
            {name: value if type(value) in PLAIN else OTHER for name, value in getattr(owner, "__dict__", {}).items()}
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

    def _read(self) -> list[dict[str, Value]]:
        return [*map(self._read_of, self._owners, self._seen, self._histories)]

    def _read_of(self, owner: Any, seen: Mapping[str, Value], history: History) -> dict[str, Value]:
        holders = holders_of(owner, self._closed)
        variables = variables_of(holders).items()
        if not self._compares:
            return {name: _value_of(each.read(), seen.get(name)) for name, each in variables}
        closed = frozenset(map(id, (*holders.values(), *self._closed)))  # their variables are read one by one
        values = {name: (each.read(), seen.get(name)) for name, each in variables}
        return {
            name: _with_digest(_value_of(*each), each[0], closed, is_asked=name in history.compared)
            for name, each in values.items()
        }

    def _look(self) -> None:
        """Note what has changed since the last look, and what it was before."""
        seen, self._seen = self._seen, self._read()
        if not self._is_watching:
            return
        for history, then, now in zip(self._histories, seen, self._seen, strict=True):
            for name in then.keys() | now.keys():
                history.note(name, then.get(name), now.get(name), is_inside=self._is_inside)

    def _written(self, values: Sequence[Mapping[str, Value]]) -> Remembered | None:
        if not self._owners:
            return None
        for owner, history, each in zip(self._owners, self._histories, values, strict=True):
            for name in history.lacking(each):
                outcome = (
                    "is refused if it has another value" if name in history.compared else "begins with its first value"
                )
                _warn(
                    f"`{name}` of {type(owner)} changes while data is drawn, and cannot be saved: a resumed run "
                    f"{outcome} there. If batches depend on it, give the class state_dict and load_state_dict"
                )
        return self._kept(values)

    def _kept(self, values: Sequence[Mapping[str, Value]]) -> Remembered:
        kept = [
            {name: _boxed(each, name) for name in history.before if name not in each or each[name].kept is not OTHER}
            for history, each in zip(self._histories, values, strict=True)
        ]
        return {str(number): each for number, each in enumerate(kept) if each}


def first_value(owner: Any, name: str) -> Any:
    """Return an attribute as it was before the first change that was noted of it."""
    boxed = history_of(owner).before.get(name)
    return renewed(None, boxed[0]) if boxed else getattr(owner, name)


def remembers_by_itself(part: Any) -> bool:
    """Return whether an object may remember by itself: it is of the user's own class, and saves no state."""
    kind = type(part)
    return (hasattr(part, "__dict__") or hasattr(kind, "__slots__")) and not kind.__module__.startswith(
        ("torch.", "camshaft.", "builtins")
    )


def _value_of(value: Any, seen: Value | None) -> Value:
    if type(value) in PLAIN:
        return Value((type(value), value), value)
    if not has_value(value):
        return Value(OTHER, OTHER)
    token = token_of(value)
    if seen is not None and seen.token == token:
        return seen
    try:
        return Value(token, keep(value))
    except NotKept:
        return Value(token, OTHER)


def _with_digest(known: Value, value: Any, closed: frozenset[int], *, is_asked: bool) -> Value:
    """Return what is known of a value with a hash of it, if it cannot be kept or is asked for."""
    if known.kept is not OTHER and not is_asked:
        return known
    return known._replace(digest=digest_of(value, closed), iterator=_as_iterator(value))


def _as_iterator(value: Any) -> Any:
    """Return what stands for an iterator, None for anything else; it may be gone."""
    if not is_plain_iterator(value):
        return None
    try:
        return weakref.ref(value)
    except TypeError:
        return value


def _boxed(values: Mapping[str, Value], name: str) -> list[Kept]:
    return [values[name].kept] if name in values and values[name].kept is not OTHER else []


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
