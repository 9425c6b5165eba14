"""What one process of a training opens: any kind of data, with the random numbers of its rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from camshaft.deterministic._kinds._kind import Kind, entries_of
from camshaft.deterministic._ranks import Ranks
from camshaft.deterministic._streams import seed_pass, seed_step
from camshaft.engine import Position

# Marks a state that was saved by one of several ranks.
_RANK, _DATA = "rank", "data"


class RankedSource:
    """Opens data for one rank: seeds the generators of the process at the start of each pass.

    Where several ranks share the work, one of them writes the checkpoint. It has the generators of that one only, so
    they are seeded for each step; and of data without an order that the ranks share, it has the place of
    that one only, so the others draw the pass again.

    Args:
        kind: what opens the data.
        seed: base seed.
        ranks: which rank this is, of how many.
        is_shared: whether the ranks share one order, so that the state of one serves all.
    """

    def __init__(self, kind: Kind, seed: int, ranks: Ranks, *, is_shared: bool) -> None:
        self._kind = kind
        self._seed = seed
        self._ranks = ranks
        self._is_shared = is_shared
        self._is_own = True  # whether what was saved was saved by this rank

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches still to come; see `camshaft.engine.DataSource`."""
        position = self._unwrap(position)
        # Inside a pass, too: data may draw its order again when it is opened. A continued run puts them back then.
        seed_pass(self._seed, self._ranks, position.data_pass)
        batches = self._kind.open(position)
        if self._ranks.world_size == 1:
            return batches
        # The numbers of a batch in hand are those that were saved with it, or seeded for it already.
        keep = position.batch if position.pass_open and position.holds_batch and self._is_own else None
        return self._seed_steps(batches, position, keep)

    def state(self, position: Position) -> Any:
        """Return what the data needs beside the position, and whose it is."""
        state = self._kind.state(self._unwrap(position))
        if self._ranks.world_size == 1 or state is None:
            return state
        return {_RANK: self._ranks.rank, _DATA: state}

    def close(self) -> None:
        """Let go of workers and iterators."""
        self._kind.close()

    def _unwrap(self, position: Position) -> Position:
        entries = entries_of(position.data_state)
        if set(entries) != {_RANK, _DATA}:
            return position
        self._is_own = entries[_RANK] == self._ranks.rank
        return position._replace(data_state=entries[_DATA] if self._is_own or self._is_shared else None)

    def _seed_steps(self, batches: Iterator[Any], position: Position, keep: int | None) -> Iterator[Any]:
        number = position.batch if position.pass_open else 0
        for batch in batches:
            if number != keep:
                seed_step(self._seed, self._ranks, position.data_pass, number)
            number += 1
            yield batch
            del batch  # let go of before the next one is drawn
