"""Drawing from any iterable on streams of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from camshaft.deterministic._inside import find_generators
from camshaft.deterministic._kinds._pipeline import DrawWatch
from camshaft.deterministic._random._rng import Undo, isolated
from camshaft.deterministic._random._seeds import derive_seed


class IsolatedIterator(Iterator[Any]):
    """Iterates on streams of its own: batch number n is drawn under a seed that depends on n only.

    Attributes:
        number: number of the next batch.
        iterator: what is drawn from; None before the first batch.

    Args:
        data: what to iterate over.
        seed: seed of the streams.
        number: as the attribute, at the beginning.
        private_of: an object whose own generators are seeded as well.
        go_on: puts the generators to where the first batch is drawn, instead of seeding them for it.
        watch: told when a batch is drawn.
    """

    def __init__(
        self,
        data: Iterable[Any],
        seed: int,
        number: int = 0,
        *,
        private_of: Any = None,
        go_on: Undo | None = None,
        watch: DrawWatch | None = None,
    ) -> None:
        self.number = number
        self.iterator: Iterator[Any] | None = None
        self._data = data
        self._seed = seed
        self._go_on = go_on
        self._private = find_generators(private_of)
        self._watch = watch

    def __next__(self) -> Any:
        with isolated(derive_seed(self._seed, self.number), self._private):
            if self.iterator is None and self._go_on is not None:
                self._go_on()
            batch = self._draw() if self._watch is None else self._draw_watched(self._watch)
        self.number += 1
        return batch

    def _draw(self) -> Any:
        if self.iterator is None:
            self.iterator = iter(self._data)
        return next(self.iterator)

    def _draw_watched(self, watch: DrawWatch) -> Any:
        watch.begin(self._private)
        batch = self._draw()
        watch.end(self._private, is_first=self.number == 0)
        return batch
