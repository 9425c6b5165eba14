"""Samples and batches with a note of what was drawn for them from random generators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from camshaft.deterministic._audit._leaf import Leaf, leaf_of_generator
from camshaft.deterministic._checks._difference import copy_of, find_difference
from camshaft.deterministic._inside import find_generators
from camshaft.deterministic._random._rng_state import Mark, mark_rng

_DRAWS = "what it draws"


class Noted(NamedTuple):
    """Something that was made of random numbers.

    Attributes:
        result: a copy: it may be handed out again, changed.
        left: where the generators were left.
        has_drawn: whether any of them was drawn from.
    """

    result: Any
    left: _Places
    has_drawn: bool


class _Places(NamedTuple):
    """Where generators stand.

    Attributes:
        mark: those of the process.
        private: those that the data has for itself.
    """

    mark: Mark
    private: list[Leaf]

    def is_at(self, other: _Places) -> bool:
        return self.mark.is_at(other.mark) and self.private == other.private


def _places(owners: Sequence[Any]) -> _Places:
    return _Places(mark_rng(), [*map(leaf_of_generator, find_generators(*owners))])


def note(make: Callable[[Any], Any], argument: Any, owners: Sequence[Any]) -> Noted:
    """Make something, and note what is drawn for it from the generators of the process and of some objects."""
    before = _places(owners)
    result = copy_of(make(argument))
    left = _places(owners)
    return Noted(result, left, not left.is_at(before))


def difference_of(one: Noted, other: Noted) -> tuple[str, str, str] | None:
    """Return where two things differ that were made under one seed, or that other numbers were drawn for them."""
    found = find_difference(one.result, other.result, "")
    if found is not None or one.left.is_at(other.left):
        return found
    return _DRAWS, "numbers" if one.has_drawn else "nothing", "other numbers" if other.has_drawn else "nothing"


class NotedDataset:
    """A dataset of which it is noted what each sample draws.

    Args:
        dataset: the user's.
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __getitem__(self, index: Any) -> Noted:
        return note(lambda index: self.dataset[index], index, [self.dataset])
