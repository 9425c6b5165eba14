"""Sequences: data whose iteration is indexing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch

from camshaft.deterministic._fetch import Seeding
from camshaft.deterministic._kinds._kind import Setting, require_place, stream_seed
from camshaft.deterministic._rng import isolated
from camshaft.deterministic._seeds import derive_seed
from camshaft.engine import Position, length_of

# Their iteration gives what their indices give, in order.
_BUILTIN = (list, tuple, range, str, bytes, torch.Tensor, np.ndarray)


class SequenceData:
    """Opens a pass by index; there is nothing to save.

    Args:
        data: the user's sequence.
        setting: seeds a batch that is asked for alone.
    """

    name: ClassVar[str] = "sequence"

    def __init__(self, data: Any, setting: Setting) -> None:
        self._data = data
        self._setting = setting

    @staticmethod
    def describe(data: Any, seeding: Seeding | None) -> dict[str, Any]:
        """Return the length."""
        del seeding
        return {"data_length": length_of(data)}

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches behind `position`."""
        if not position.pass_open:
            return iter(self._data)
        require_place(position.batch, length_of(self._data), self._setting)
        return self._from(position.batch)

    def state(self, position: Position) -> None:
        """Return None: the position says it all."""
        del position

    def close(self) -> None:
        """Do nothing."""

    def batch_at(self, data_pass: int, number: int) -> Any:
        """Return one item under the random numbers that it has in a pass on streams of its own.

        Raises:
            IndexError: there is no such item.
        """
        if number >= len(self._data):
            raise IndexError(f"`index` must be less than the {len(self._data)} batches, got {number}")
        with isolated(derive_seed(stream_seed(self._setting, data_pass), number)):
            return self._data[number]

    def _from(self, start: int) -> Iterator[Any]:
        """Yield from `start` on; like `iter`, this ends where the data does, whatever its len() says."""
        for place in range(start, len(self._data)):
            try:
                yield self._data[place]
            except IndexError:
                return


def iterates_by_index(data: Any) -> bool:
    """Return whether iterating `data` gives what its indices give, in order, by the way its class iterates.

    So do lists, tuples, ranges, tensors and arrays; classes without `__iter__`, which Python iterates by index;
    and those that take `__iter__` from `collections.abc.Sequence`. A wrapper around a loader, or a table with an
    index of its own, does not, though it has a length and items.
    """
    kind = type(data)
    if not hasattr(kind, "__getitem__") or not hasattr(kind, "__len__"):
        return False
    return getattr(kind, "__iter__", None) in (None, Sequence.__iter__) or only_holds(data)


def only_holds(data: Any) -> bool:
    """Return whether `data` holds its items, as lists and tensors do: giving one out draws no random numbers."""
    kind = type(data)
    known = next((each for each in _BUILTIN if isinstance(data, each)), None)
    return known is not None and all(
        getattr(kind, name) is getattr(known, name) for name in ("__iter__", "__getitem__")
    )
