"""What was different right after resuming: what nobody has saved, and what has not been brought back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from camshaft.deterministic._audit._leaf import without_numbers
from camshaft.deterministic._audit._part import Part

_MOST_NAMED = 4
_FILE = "written after the checkpoint; a training that goes on from what is in a file needs it as it was then"


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


class Resume(NamedTuple):
    """What was not saved, and what was, around one resume.

    Attributes:
        before: what is not saved, when the checkpoint was taken.
        after: the same, right after resuming.
        later: the same an iteration later, without the stop and with it; None where it was not looked at.
        saved: what is in `to_save`, when the checkpoint was taken.
        loaded: the same, right after loading.
        files: names of the files in the folder that were written between the checkpoint and the resume.
    """

    before: tuple[Part, ...]
    after: tuple[Part, ...]
    later: tuple[tuple[Part, ...], tuple[Part, ...]] | None
    saved: tuple[Part, ...]
    loaded: tuple[Part, ...]
    files: tuple[str, ...]


def list_unsaved(resumes: Iterable[Resume], noise: frozenset[str], *, is_exact: bool) -> list[Unsaved]:
    """Return what of a training is not saved, and was different right after resuming.

    An object is left out if it is reset before it is used again, or if the state of another one has all of it. What
    was as it should be an iteration later is left out as well, unless nothing else is found where something differs.

    Args:
        resumes: the resumes.
        noise: places that differ anyway.
        is_exact: whether the training has gone on exactly all the same.
    """
    lasting: dict[str, Unsaved] = {}
    passing: dict[str, Unsaved] = {}
    for resume in resumes:
        later = None if resume.later is None else {*_places(*resume.later, noise)}
        for thing, places in suspects(resume.before, resume.after, noise):
            lines = lasting if later is None or not later.isdisjoint(places) else passing
            names = [thing.name] if thing.name else without_numbers(places)
            known = lines[thing.owner].names if thing.owner in lines else ()
            lines[thing.owner] = Unsaved(tuple(without_numbers((*known, *names))), thing.place, thing.advice)
    return list(lasting.values()) or ([] if is_exact else list(passing.values()))


def list_files_written(resumes: Iterable[Resume]) -> list[Unsaved]:
    """Return the files that were written between a checkpoint and the resume, in one line."""
    names = dict.fromkeys(name for each in resumes for name in each.files)
    return [Unsaved(tuple(names), "", _FILE)] if names else []


def suspects(before: Iterable[Part], after: Iterable[Part], noise: frozenset[str]) -> Iterator[tuple[Part, list[str]]]:
    """Yield the things that differ, with the places that do.

    Left out are those that are reset before they are used again, and those that are inside an object whose state
    differs as well and has all of that.
    """
    changed = {thing.key: (thing, places) for thing, places in _pairs(before, after, noise)}
    for thing, places in changed.values():
        holders = [changed[key][0] for key in thing.inside if key in changed]
        if not thing.begins_again and not any(_has_all(holder, thing, places) for holder in holders):
            yield thing, places


def _places(before: Iterable[Part], after: Iterable[Part], noise: frozenset[str]) -> list[str]:
    return [place for _, places in _pairs(before, after, noise) for place in places]


def list_not_restored(resumes: Iterable[Resume], noise: frozenset[str]) -> list[str]:
    """Return what is in `to_save` and was different right after loading all the same, a line for each object."""
    found: dict[str, list[str]] = {}
    for resume in resumes:
        for thing, places in _pairs(resume.saved, resume.loaded, noise):
            found[thing.key] = [*dict.fromkeys((*found.get(thing.key, ()), *without_numbers(places)))]
    return [f"`{key}`: load_state_dict() has not brought back {join_names(places)}" for key, places in found.items()]


def _has_all(holder: Part, thing: Part, places: list[str]) -> bool:
    """Return whether the state of one object has all of another one that differs."""
    digests = {leaf.digest for leaf in holder.leaves.values()}
    return all(thing.leaves[place].digest in digests for place in places if place in thing.leaves)


def _pairs(before: Iterable[Part], after: Iterable[Part], noise: frozenset[str]) -> Iterator[tuple[Part, list[str]]]:
    """Yield the things that differ, as they are now, with the places that do."""
    old, new = ({each.key: each for each in things} for things in (before, after))
    for key, thing in {**old, **new}.items():
        one, other = (things[key].leaves if key in things else {} for things in (old, new))
        places = [place for place in {**one, **other} if one.get(place) != other.get(place) and place not in noise]
        if places:
            yield thing, places
