"""What was different right after resuming: what nobody has saved, and what has not been brought back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import FunctionType
from typing import Any, NamedTuple, TypeAlias

from torch import nn

from camshaft.deterministic._inside import GENERATORS, Found, label_of
from camshaft.deterministic._snapshot import Leaves, beside_state, leaves_of, survey, without_numbers
from camshaft.engine import Engine, Events, has_state

_MOST_NAMED = 4
_TO_SAVE = "add it to `to_save`"


class Thing(NamedTuple):
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
    """

    key: str
    leaves: Leaves
    name: str = ""
    owner: str = ""
    place: str = ""
    advice: str = ""
    inside: tuple[str, ...] = ()
    begins_again: bool = False


class Unsaved(NamedTuple):
    """Something that was different right after resuming and is not in `to_save`.

    Attributes:
        names: the object; or variables of one function, attributes of one object.
        place: what it is, or what it is attached to; "" where the names say it.
        advice: what to do about it.
    """

    names: tuple[str, ...]
    place: str
    advice: str

    def __str__(self) -> str:
        return f"{join_names(f'`{name}`' for name in self.names)}{self.place and ' '}{self.place}: {self.advice}"


def join_names(names: Iterable[str]) -> str:
    """Return names in a row, the first few of many."""
    listed = list(names)
    more = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
    return f"{', '.join(listed[:_MOST_NAMED])}{more}"


def merge(things: Iterable[Thing]) -> Leaves:
    """Return what all of some things are like."""
    return {place: leaf for each in things for place, leaf in each.leaves.items()}


def look_at(
    engine: Engine[Any, Any], owners: Mapping[str, Any], handlers: Mapping[str, Any], saved: Mapping[str, Any],
    left_out: Iterable[Any],
) -> Iterator[Thing]:  # fmt: skip
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
            advice = f"`{name}` is in `to_save`, its `state_dict()` lacks this: make it a buffer"
            yield Thing(f"beside {name}", leaves_of(beside_state(each), name), owner=name, advice=advice)
    trainer = next(name for name, each in saved.items() if each is engine)
    names = {id(each): name for name, each in saved.items()}
    in_state = _Saved((*saved.values(), *engine.stateful.values()))
    for found, leaves in survey(owners, in_state.objects, tuple(left_out)):
        if in_state.has_all(found, leaves):
            continue
        inside = tuple(each.where for each in found.chain() if _has_own_state(each.value))
        if _has_own_state(found.value):
            name, place = _name(found, trainer, handlers)
            begins_again = _begins_again(found, engine) or (found.where == "data" and found.parent is None)
            yield Thing(found.where, leaves, name, name + place, place, _TO_SAVE, inside, begins_again)
        else:
            owner, advice = _owner_of(found, names)
            yield Thing(found.where, leaves, "", owner, "", advice, inside)


Resumes: TypeAlias = Iterable[tuple[Iterable[Thing], Iterable[Thing]]]


def list_unsaved(resumes: Resumes, noise: frozenset[str]) -> list[Unsaved]:
    """Return what of a training is not saved, and was different right after resuming.

    An object is left out if it is reset before it is used again, or if the state of another one has all of it.

    Args:
        resumes: of each resume what everything was like when the checkpoint was taken, and right after resuming.
        noise: places that differ anyway.
    """
    lines: dict[str, Unsaved] = {}
    for before, after in resumes:
        changed = {thing.key: (thing, places) for thing, places in _pairs(before, after, noise)}
        for thing, places in changed.values():
            holders = [changed[key][0] for key in thing.inside if key in changed]
            if not thing.begins_again and not any(_has_all(holder, thing, places) for holder in holders):
                names = [thing.name] if thing.name else without_numbers(places)
                known = lines[thing.owner].names if thing.owner in lines else ()
                lines[thing.owner] = Unsaved(tuple(dict.fromkeys((*known, *names))), thing.place, thing.advice)
    return list(lines.values())


def list_not_restored(resumes: Resumes, noise: frozenset[str]) -> list[str]:
    """Return what is in `to_save` and was different right after loading all the same, a line for each object."""
    found: dict[str, list[str]] = {}
    for before, after in resumes:
        for thing, places in _pairs(before, after, noise):
            found[thing.key] = [*dict.fromkeys((*found.get(thing.key, ()), *without_numbers(places)))]
    return [f"`{key}`: load_state_dict() has not brought back {join_names(places)}" for key, places in found.items()]


def lasting(things: Iterable[Thing]) -> list[Thing]:
    """Return the things that last: not those that are reset before they are used again, nor what these have all of."""
    listed = list(things)
    resets = {each.key: each for each in listed if each.begins_again}
    return [
        each
        for each in listed
        if not each.begins_again
        and not any(_has_all(resets[key], each, list(each.leaves)) for key in each.inside if key in resets)
    ]


def _has_all(holder: Thing, thing: Thing, places: list[str]) -> bool:
    """Return whether the state of one object has all of another one that differs."""
    digests = {leaf.digest for leaf in holder.leaves.values()}
    return all(thing.leaves[place].digest in digests for place in places if place in thing.leaves)


def _pairs(before: Iterable[Thing], after: Iterable[Thing], noise: frozenset[str]) -> Iterator[tuple[Thing, list[str]]]:
    """Yield the things that differ, as they are now, with the places that do."""
    old, new = ({each.key: each for each in things} for things in (before, after))
    for key, thing in {**old, **new}.items():
        one, other = (things[key].leaves if key in things else {} for things in (old, new))
        places = [place for place in {**one, **other} if one.get(place) != other.get(place) and place not in noise]
        if places:
            yield thing, places


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


def _owner_of(found: Found, saved: Mapping[int, str]) -> tuple[str, str]:
    """Return whose variable or attribute it is, and what to do if nobody saves it."""
    chain = [found, *found.chain()]
    root = chain[-1]
    label, owner = next(
        ((label, each.value) for each in chain[1:] if (label := label_of(each.value))), (root.where, None)
    )
    if isinstance(found.value, GENERATORS):
        return found.where, "draw from the generators of the process, which are saved, or save its state"
    if root.where == "engine.state":
        return root.where, "add its name to `engine.state_dict_user_keys`"
    if id(owner) in saved:
        return label, f"`{saved[id(owner)]}` is in `to_save`, its `state_dict()` lacks this"
    if root.where == "data":
        return label, "let data depend on the index and the generators of the process alone, or give it a `state_dict`"
    if owner is None or isinstance(owner, FunctionType):
        return label, "keep it in `engine.state`, and its name in `engine.state_dict_user_keys`"
    return label, f"give `{type(owner).__qualname__}` `state_dict` and `load_state_dict`, and add it to `to_save`"
