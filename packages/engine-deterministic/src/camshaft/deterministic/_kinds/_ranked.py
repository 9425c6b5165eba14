"""What one process of a training opens: any kind of data, with the random numbers of its rank."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from camshaft.deterministic._kinds._isolated import IsolatedIterator
from camshaft.deterministic._kinds._kind import (
    ENDED,
    ENDED_BATCH,
    LAST,
    MEMORY,
    NEXT,
    ORDER,
    USED,
    Kind,
    Recalling,
    Setting,
    entries_of,
    stream_seed,
)
from camshaft.deterministic._kinds._pass import Pass
from camshaft.deterministic._random._rng import isolated, remember_generators
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.deterministic._random._streams import seed_pass, seed_step
from camshaft.deterministic._skip import kept_numbers
from camshaft.engine import Peekable, Position

# Marks a state that was saved by one of several ranks: which one, of how many.
_RANK, _WORLD, _DATA = "rank", "world_size", "data"
_END: Any = object()
# What was seen by the rank that has saved it.
_OWN = (LAST, NEXT, USED, ENDED, ENDED_BATCH, ORDER)


class RankedSource:
    """Opens data for one rank, and seeds the generators of the process: at the start of each pass, or for each step.

    Where several ranks share the work, one of them writes the checkpoint. It has the generators of that one only, so
    they are seeded for each step; and of data without an order that the ranks share, it has the place of
    that one only, so the others draw the pass again.

    Attributes:
        opens_by_index: whether any place is reached by its number, whatever was drawn before.

    Args:
        kind: what opens the data.
        setting: what it was made with.
        seed: base seed, the same on every rank.
        seeds_passes: whether the generators of the process are seeded at the start of each pass.
        is_shared: whether the ranks share one order, so that the state of one serves all.
        shares_memory: whether the state may have a `memory` of counts, which are the same on all ranks.
        seeds_steps: whether the generators of the process are seeded for each batch.
        leaves_out: whether the kind leaves out the skipped batches itself.
        opens_by_index: as the attribute.
        draws: whether what the kind gives draws from the generators of the process.
    """

    def __init__(
        self,
        kind: Kind,
        setting: Setting,
        seed: int,
        *,
        seeds_passes: bool,
        is_shared: bool,
        shares_memory: bool,
        seeds_steps: bool,
        leaves_out: bool,
        opens_by_index: bool,
        draws: bool,
    ) -> None:
        self.opens_by_index = opens_by_index
        self._kind = kind
        self._setting = setting
        self._seed = seed
        self._seeds_passes = seeds_passes
        self._is_shared = is_shared
        self._shares_memory = shares_memory
        self._seeds_steps = seeds_steps
        self._leaves_out = leaves_out
        self._draws = draws
        self._pass: Iterator[Any] | None = None
        self._is_own = True  # whether what was saved was saved by this rank
        self._recalled: Any = None  # the state between two passes that was put back last

    def recall(self, position: Position) -> None:
        """Put back what the user's objects remember at a place between two passes, before it is opened."""
        if position.pass_open or position.data_state is None or position.data_state is self._recalled:
            return
        self._recalled = position.data_state
        if isinstance(self._kind, Recalling):
            with isolated(self._seed_at(position.data_pass, 0)):
                self._kind.recall(self._unwrap(position).data_state)

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches still to come; see `camshaft.engine.DataSource`."""
        self._leave_pass()
        self.recall(position)
        position = self._unwrap(position)
        if self._seeds_passes:
            # Inside a pass, too: data may draw its order again when it is opened. A continued run puts them back then.
            seed_pass(self._seed, self._setting.ranks, position.data_pass)
        batches = self._open_isolated(position) if self._setting.isolates else self._kind.open(position)
        self._pass = batches
        if not self._seeds_steps and not self._setting.skip:
            return batches
        # The numbers of a batch in hand are those that were saved with it, or seeded for it already.
        keep = position.batch if position.pass_open and position.holds_batch and self._is_own else None
        return Followed(self._follow(batches, position, keep), batches, may_peek=not self._setting.skip)

    def state(self, position: Position) -> Any:
        """Return what the data needs beside the position, and whose it is."""
        position = self._unwrap(position)
        if not position.pass_open:
            self._leave_pass()
        if self._setting.isolates:  # data may look at its next batch when it is asked
            with isolated(self._seed_at(position.data_pass, _first(position))):
                state = self._kind.state(position)
        else:
            state = self._kind.state(position)
        if self._setting.ranks.world_size == 1 or state is None:
            return state
        return {_RANK: self._setting.ranks.rank, _WORLD: self._setting.ranks.world_size, _DATA: state}

    def batch_at(self, data_pass: int, number: int) -> Any:
        """Return one batch, fetched alone; for kinds that have the method."""
        kind: Any = self._kind
        return kind.batch_at(data_pass, number)

    def close(self) -> None:
        """Let go of workers and iterators."""
        self._leave_pass()
        self._kind.close()

    def _leave_pass(self) -> None:
        left, self._pass = self._pass, None
        if isinstance(left, Pass):
            left.give_up()

    def _unwrap(self, position: Position) -> Position:
        entries, ranks = entries_of(position.data_state), self._setting.ranks
        world_size, state = 1, position.data_state
        if set(entries) == {_RANK, _WORLD, _DATA}:
            world_size, state = entries[_WORLD], entries[_DATA]
            self._is_own = entries[_RANK] == ranks.rank
            if not self._is_own:
                return position._replace(data_state=self._serving(state))
        if self._is_shared and world_size != ranks.world_size:
            state = _without_last(state)
        return position._replace(data_state=state)

    def _serving(self, state: Any) -> dict[str, Any] | None:
        """Return what serves this rank of the state of another one, whose last batch was not that of this one."""
        entries = entries_of(state)
        if self._is_shared:
            return _without_last(entries)
        return {MEMORY: entries[MEMORY]} if self._shares_memory and MEMORY in entries else None

    def _open_isolated(self, position: Position) -> Iterator[Any]:
        with isolated(self._seed_at(position.data_pass, 0)):
            batches = self._kind.open(position)
            go_on = remember_generators()
        if not self._draws:
            return batches
        # An order may be drawn when the pass is opened, or with its first batch: then it is the same when data that is
        # opened in the middle draws it again.
        first = _first(position)
        seed = stream_seed(self._setting, position.data_pass)
        return IsolatedIterator(batches, seed, first, go_on=None if first else go_on)

    def _seed_at(self, data_pass: int, number: int) -> int:
        """Return what batch `number` is drawn under; a pass is opened under that of its first batch."""
        return derive_seed(stream_seed(self._setting, data_pass), number)

    def _follow(self, batches: Iterator[Any], position: Position, keep: int | None) -> Iterator[Any]:
        """Leave out what is skipped, and seed the steps and, if passes are not seeded, what comes after them."""
        skip, data_pass, first = self._setting.skip, position.data_pass, _first(position)
        numbers = kept_numbers(skip, data_pass, first) if self._leaves_out else count(first)
        for number in numbers:
            batch = next(batches, _END)
            is_end = batch is _END
            is_kept = is_end or (data_pass, number) not in skip
            if self._seeds_steps and is_kept and number != keep and not (is_end and self._seeds_passes):
                seed_step(self._seed, self._setting.ranks, data_pass, number)
            if is_end:
                return
            if is_kept:
                yield batch
            del batch  # let go of before the next one is drawn


class Followed(Peekable):
    """What is made of the batches of a pass, as they are given out.

    Args:
        made: gives the batches.
        batches: those of the pass.
        may_peek: whether none is left out, so that the next one is the next one of the pass.
    """

    def __init__(self, made: Iterator[Any], batches: Iterator[Any], *, may_peek: bool) -> None:
        self._made = made
        self._batches = batches
        self._may_peek = may_peek

    def __next__(self) -> Any:
        return next(self._made)

    def peek(self) -> tuple[Any, ...]:
        """Fetch the next batch of the pass early; the step is seeded for it when it is given out."""
        return self._batches.peek() if self._may_peek and isinstance(self._batches, Peekable) else ()


def unwrap(data_state: Any) -> Mapping[str, Any]:
    """Return what a kind of data has saved, of what `RankedSource.state` has returned, if it is a mapping."""
    entries = entries_of(data_state)
    return entries_of(entries[_DATA]) if set(entries) == {_RANK, _WORLD, _DATA} else entries


def _without_last(state: Any) -> dict[str, Any] | None:
    """Return a state without what was seen, which is another rank's, or that of another number of ranks.

    That is the last batch, and what an unknown sampler has drawn.
    """
    return {name: entry for name, entry in entries_of(state).items() if name not in _OWN} or None


def _first(position: Position) -> int:
    return position.batch if position.pass_open else 0
