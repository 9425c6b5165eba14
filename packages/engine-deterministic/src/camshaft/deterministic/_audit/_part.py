"""What belongs to a training beside what it saves: what each is like, how people call it, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple

from torch import nn

from camshaft.deterministic._audit._leaf import Leaves, leaf_of_iterator, leaves_of
from camshaft.deterministic._audit._module_state import leaves_beside_state
from camshaft.deterministic._audit._snapshot import survey
from camshaft.deterministic._inside import GENERATORS, Found, label_of
from camshaft.engine import Engine, Events, has_state

_TO_SAVE = "add it to `to_save`"
DATA, STATE = "data", "engine.state"  # names of two of the objects that a search begins with
_ADVICE_BY_ROOT = {
    STATE: "add its name to `engine.state_dict_user_keys`",
    DATA: "let data depend on the index and the generators of the process alone, or give it a `state_dict`",
}


class Part(NamedTuple):
    """Something that is compared.

    Attributes:
        key: how it is reached; no other thing has the same.
        leaves: what it is like.
        name: how people call it, if it can be saved as a whole; "" if it is a variable or an attribute.
        owner: whose variable or attribute it is; those of one owner are told in one line.
        place: of such an object, what it is, or what it is attached to.
        advice: what to do if it was not saved.
        inside: the keys of what has a state and refers to it.
        begins_again: whether it is reset, or opened at its place, before it is used the next time.
        is_of_data: whether the data of the run has it: what that gives is compared batch by batch.
    """

    key: str
    leaves: Leaves
    name: str = ""
    owner: str = ""
    place: str = ""
    advice: str = ""
    inside: tuple[str, ...] = ()
    begins_again: bool = False
    is_of_data: bool = False


def merge(things: Iterable[Part]) -> Leaves:
    """Return what all of some things are like."""
    return {place: leaf for each in things for place, leaf in each.leaves.items()}


def look_at(
    engine: Engine[Any, Any], owners: Mapping[str, Any], handlers: Mapping[str, Any], saved: Mapping[str, Any],
    left_out: Iterable[Any],
) -> Iterator[Part]:  # fmt: skip
    """Yield what belongs to a training and is not saved, as it is now.

    Args:
        engine: the engine that trains.
        owners: what refers to it, by name; the handlers are among them.
        handlers: those of the engine, by name.
        saved: what is in `to_save`.
        left_out: objects that are not looked at.
    """
    for name, each in saved.items():
        if isinstance(each, nn.Module):
            advice = f"{_lacks(name)}: make it a buffer, or set it where the run goes on"
            yield Part(f"beside {name}", leaves_beside_state(each, name), owner=name, advice=advice)
    trainer = next(name for name, each in saved.items() if each is engine)
    names = {id(each): name for name, each in saved.items()}
    in_state = _Saved((*saved.values(), *engine.stateful.values()))
    for found, leaves in survey(owners, in_state.objects, tuple(left_out)):
        if in_state.has_all(found, leaves):
            continue
        inside = tuple(each.where for each in found.chain() if _has_own_state(each.value))
        is_of_data = [found, *found.chain()][-1].where == DATA
        if _has_own_state(found.value):
            name, place = _name(found, trainer, handlers)
            begins_again = is_of_data or _begins_again(found, engine)
            yield Part(found.where, leaves, name, name + place, place, _TO_SAVE, inside, begins_again, is_of_data)
        else:
            label, owner = _owner_of(found)
            key, advice = next(iter(leaves)), _advise(found, owner, names)
            begins_again = is_of_data and bool(inside)  # its state is opened, and it is a part of that
            yield Part(key, leaves, "", label, "", advice, inside, begins_again, is_of_data)


class _Saved:
    """What is in the state of objects that are saved.

    Args:
        objects: these.
    """

    def __init__(self, objects: tuple[Any, ...]) -> None:
        self.objects = objects
        self._digests: dict[int, set[str]] = {}  # of the state of an object, by its `id`

    def has_all(self, found: Found, leaves: Leaves) -> bool:
        """Return whether an object that refers to something has all of that in its own state."""
        wanted = {leaf.digest for leaf in leaves.values()}
        holders = (each.value for each in found.chain() if any(each.value is own for own in self.objects))
        return any(wanted <= self._digests_of(holder) for holder in holders if not isinstance(holder, Engine))

    def _digests_of(self, saved: Any) -> set[str]:
        if id(saved) not in self._digests:
            self._digests[id(saved)] = {leaf.digest for leaf in leaves_of(saved.state_dict()).values()}
        return self._digests[id(saved)]


def _has_own_state(value: Any) -> bool:
    return has_state(value) and not isinstance(value, (*GENERATORS, Engine, type))


def _begins_again(found: Found, trainer: Engine[Any, Any]) -> bool:
    """Return whether an object belongs to another engine, which resets it before the next run, and is in none now."""
    engine = next((each.value for each in found.chain() if isinstance(each.value, Engine)), trainer)
    reset = getattr(found.value, "reset", None)
    if engine is trainer or not callable(reset) or not (engine.position.over or engine.position.epoch == 0):
        return False
    return any(engine.has_event_handler(reset, event) for event in (Events.STARTED, Events.EPOCH_STARTED))


def _name(found: Found, trainer: str, handlers: Mapping[str, Any]) -> tuple[str, str]:
    """Return how people find an object that has a state: what to call it, and what it is or is attached to."""
    kind = type(found.value).__qualname__.replace("<locals>.", "")
    if found.parent is None and found.where in handlers:
        return found.where, f"attached to `{trainer}`"
    engine = next((each for each in found.chain() if isinstance(each.value, Engine)), None)
    if engine is not None and found.where.startswith(f"{engine.where}."):
        variable = engine.where.rpartition(".")[2]
        return kind, f"attached to {'another engine' if engine.where in handlers else f'`{variable}`'}"
    return found.where, "" if found.where == kind else f"(`{kind}`)"


def _owner_of(found: Found) -> tuple[str, Any]:
    """Return whose variable or attribute it is: what to call that, and the object; None where nobody has a name."""
    chain = [found, *found.chain()]
    named = ((label, each.value) for each in chain[1:] if (label := label_of(each.value)))
    return next(named, (chain[-1].where, None))


def _advise(found: Found, owner: Any, saved: Mapping[int, str]) -> str:
    """Return what to do if nobody saves a variable or an attribute."""
    root = [found, *found.chain()][-1].where
    if leaf_of_iterator(found.value) is not None:
        return "where it stands is not saved; count in `engine.state` instead, and make it anew from that"
    if isinstance(found.value, GENERATORS):
        return "draw from the generators of the process, which are saved, or save its state"
    if id(owner) in saved:
        return _lacks(saved[id(owner)])
    if root in _ADVICE_BY_ROOT:
        return _ADVICE_BY_ROOT[root]
    if owner is None or isinstance(owner, FunctionType):
        return "keep it in `engine.state`, and its name in `engine.state_dict_user_keys`"
    return f"give `{type(owner).__qualname__}` `state_dict` and `load_state_dict`, and add it to `to_save`"


def _lacks(name: str) -> str:
    return f"`{name}` is in `to_save`, its `state_dict()` lacks this"
