"""Sequences: data whose iteration is indexing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, ClassVar

import numpy as np
import torch

from camshaft.deterministic._fingerprint import Fingerprint
from camshaft.deterministic._kinds._kind import (
    LAST,
    NEXT,
    USED,
    Setting,
    entries_of,
    require_place,
    stream_seed,
    without_empty,
)
from camshaft.deterministic._kinds._pass import Early, Pass
from camshaft.deterministic._kinds._redrawn import compare_repeated
from camshaft.deterministic._loading._fetch import Seeding
from camshaft.deterministic._random._rng import isolated
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.engine import Position, is_sequence, length_of

# Their iteration gives what their indices give, in order.
_BUILTIN = (list, tuple, range, str, bytes, torch.Tensor, np.memmap, np.ndarray)
_ALL = -1  # the number of all items together, of which a part is read


class SequenceData:
    """Opens a pass by index.

    An item is compared with the one that the saved run had there. Of data that only holds its items, it is the next
    one, which no step has changed yet and which costs nothing until a state is taken; at the end it is the last one. On
    streams of their own, the last one is fetched again. Other items draw from the generators of the process, as the
    steps before have left them, and cannot be had again.

    What a step has changed in place stays changed in the epochs to come, but not in another process. So of data that
    only holds its items, the last one is saved as the step has left it, too. It has to be like that when the next pass
    begins; if there is none, it does not matter.

    Args:
        data: the user's sequence.
        setting: what the passes depend on beside it.
    """

    name: ClassVar[str] = "sequence"

    def __init__(self, data: Any, setting: Setting) -> None:
        self._data = data
        self._setting = setting
        self._only_holds = only_holds(data)
        self._is_repeatable = setting.isolates or self._only_holds
        self._opened: Pass | None = None
        self._changed: Mapping[str, tuple[Any, Any]] = {}  # what makes the next pass another one
        self._goes_on = False  # whether a pass was opened, and nothing stood against it

    @staticmethod
    def describe(data: Any, seeding: Seeding | None) -> dict[str, Any]:
        """Return the length."""
        del seeding
        return {"data_length": length_of(data)}

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches behind `position`."""
        opened = self._open_inside(position) if position.pass_open else self._open_next(position)
        self._goes_on = True
        return opened

    def _open_next(self, position: Position) -> Pass:
        changed, self._changed = self._changed, {}
        self._setting.report(changed)
        return self._give(iter(self._data), position)

    def _open_inside(self, position: Position) -> Pass:
        first = position.batch
        require_place(first, length_of(self._data), self._setting)
        # In one process, whoever changes a list between two runs wants that.
        saved = {} if self._goes_on else entries_of(position.data_state)
        self._setting.report(self._differing("the next one", saved.get(NEXT)))
        self.recall(saved)
        last = saved.get(LAST)
        if last is None or not first or not self._is_repeatable:
            return self._give(self._from(first), position)
        opened = self._give(self._from(first - 1), position)
        with isolated(self._seed_at(position.data_pass, first - 1)):
            compare_repeated(opened, [True], last, self._setting.report)
        return opened

    def recall(self, state: Any) -> None:
        """Note whether the item that was given last is what the steps before had made of it."""
        if not self._goes_on:
            self._changed = self._differing("as the step left it", entries_of(state).get(USED))

    def state(self, position: Position) -> Any:
        """Return hashes of the next item and of the last one; None where they could not be had again."""
        opened = self._opened
        if opened is None:
            return position.data_state
        if not position.pass_open:
            return without_empty(used=self._hashed(_ALL))
        if not self._is_repeatable or opened.given != position.batch:
            return None
        given = opened.given
        return without_empty(last=opened.last(), next=self._hashed(given), used=self._hashed(given - 1))

    def close(self) -> None:
        """Let go of the pass."""
        if self._opened is not None:
            self._opened.close()

    def batch_at(self, data_pass: int, number: int) -> Any:
        """Return one item under the random numbers that it has in a pass on streams of its own.

        Raises:
            IndexError: there is no such item.
        """
        if number >= len(self._data):
            raise IndexError(f"`index` must be less than the {len(self._data)} batches, got {number}")
        with isolated(self._seed_at(data_pass, number)):
            return self._data[number]

    def _first_kept(self) -> int:
        """Return the number of the first item of which a hash is kept as it is given out."""
        return max(0, len(self._data) - 1) if self._only_holds else 0

    def _hashed(self, number: int) -> list[Any] | None:
        """Return the number and the hash of an item or of all; None if there is none, or if only a fetch could tell."""
        if not self._only_holds or not _ALL <= number < len(self._data):
            return None
        found = Fingerprint(self._data if number == _ALL else self._data[number]).text()
        return None if found is None else [number, found]

    def _differing(self, what: str, saved: list[Any] | None) -> dict[str, tuple[Any, Any]]:
        """Return by name what is held now in place of an item: (saved, present)."""
        if saved is None:
            return {}
        number, expected = saved
        present = self._hashed(number)
        name = "batches" if number == _ALL else f"batch {number}"
        return {} if present is None or present == saved else {f"{name}, {what}": (expected, present[1])}

    def _seed_at(self, data_pass: int, number: int) -> int:
        return derive_seed(stream_seed(self._setting, data_pass), number)

    def _give(self, items: Iterator[Any], position: Position) -> Pass:
        self._opened = Pass(
            items,
            position,
            keeps_last_from=self._first_kept() if self._is_repeatable else None,
            early=Early() if self._is_repeatable else None,
        )
        return self._opened

    def _from(self, start: int) -> Iterator[Any]:
        """Yield from `start` on; like `iter`, this ends where the data does, whatever its len() says."""
        for place in count(start):
            if place >= len(self._data):  # it may grow meanwhile
                return
            try:
                yield self._data[place]
            except IndexError:
                return


def iterates_by_index(data: Any) -> bool:
    """Return whether iterating `data` gives what its indices give, in order, by the way its class iterates.

    So do lists, tuples, ranges, tensors and arrays; classes without `__iter__` whose `__getitem__` is written in
    Python; and those that take `__iter__` from `collections.abc.Sequence`. A wrapper around a loader, or a table with
    an index of its own, does not, though it has a length and items.
    """
    kind = type(data)
    if not hasattr(kind, "__getitem__") or not hasattr(kind, "__len__"):
        return False
    if getattr(kind, "__iter__", None) is None:
        return is_sequence(data)
    return kind.__iter__ is Sequence.__iter__ or only_holds(data)


def only_holds(data: Any) -> bool:
    """Return whether `data` holds its items, as lists and tensors do: giving one out draws no random numbers."""
    kind = type(data)
    known = next((each for each in _BUILTIN if isinstance(data, each)), None)
    return known is not None and all(
        getattr(kind, name) is getattr(known, name) for name in ("__iter__", "__getitem__")
    )
