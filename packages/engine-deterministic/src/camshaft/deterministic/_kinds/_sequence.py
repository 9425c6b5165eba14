"""Sequences: data whose iteration is indexing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from camshaft.deterministic._kinds._kind import LAST, Setting, entries_of, require_place, stream_seed, without_empty
from camshaft.deterministic._kinds._pass import Early, Pass
from camshaft.deterministic._kinds._redrawn import compare_repeated
from camshaft.deterministic._loading._fetch import Seeding
from camshaft.deterministic._random._rng import isolated
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.engine import Position, is_sequence, length_of

# Their iteration gives what their indices give, in order.
_BUILTIN = (list, tuple, range, str, bytes, torch.Tensor, np.ndarray)


class SequenceData:
    """Opens a pass by index.

    The item before the place is compared with the one that the saved run had there, where it can be had again: from
    data that only holds its items, and on streams of their own. Others draw from the generators of the process, as the
    steps before have left them.

    Args:
        data: the user's sequence.
        setting: what the passes depend on beside it.
    """

    name: ClassVar[str] = "sequence"

    def __init__(self, data: Any, setting: Setting) -> None:
        self._data = data
        self._setting = setting
        self._is_repeatable = setting.isolates or only_holds(data)
        self._opened: Pass | None = None

    @staticmethod
    def describe(data: Any, seeding: Seeding | None) -> dict[str, Any]:
        """Return the length."""
        del seeding
        return {"data_length": length_of(data)}

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches behind `position`."""
        if not position.pass_open:
            return self._give(iter(self._data), position)
        first, last = position.batch, entries_of(position.data_state).get(LAST)
        require_place(first, length_of(self._data), self._setting)
        if last is None or not first or not self._is_repeatable:
            return self._give(self._from(first), position)
        opened = self._give(self._from(first - 1), position)
        with isolated(self._seed_at(position.data_pass, first - 1)):
            compare_repeated(opened, 1, last, self._setting.report)
        return opened

    def state(self, position: Position) -> Any:
        """Return a hash of the last item, None where it could not be had again."""
        opened = self._opened
        if opened is None or not position.pass_open:
            return position.data_state if opened is None else None
        is_known = self._is_repeatable and opened.given == position.batch
        return without_empty(last=opened.last() if is_known else None)

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

    def _seed_at(self, data_pass: int, number: int) -> int:
        return derive_seed(stream_seed(self._setting, data_pass), number)

    def _give(self, items: Iterator[Any], position: Position) -> Pass:
        self._opened = Pass(
            items, position, keeps_last=self._is_repeatable, early=Early() if self._is_repeatable else None
        )
        return self._opened

    def _from(self, start: int) -> Iterator[Any]:
        """Yield from `start` on; like `iter`, this ends where the data does, whatever its len() says."""
        for place in range(start, len(self._data)):
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
