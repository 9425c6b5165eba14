"""The data of a run: how it is opened at a position, and what it saves of its own.

A run knows data through a `DataSource` only. `make_source` decides by what the data is: each class below
is one kind. An engine that knows more kinds overrides `Engine.make_source`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from itertools import repeat, starmap
from types import WrapperDescriptorType
from typing import Any, Protocol

from camshaft.engine._errors import ArgumentError, ArgumentTypeError, EngineWarning
from camshaft.engine._events import Events
from camshaft.engine._position import Position
from camshaft.engine._value import has_state, is_sequence, length_of

# Where a run stands that holds no batch, and is not fetching one.
BEFORE_FETCH = (Events.EPOCH_STARTED.name, Events.GET_BATCH_STARTED.name, Events.EPOCH_COMPLETED.name)


class DataSource(Protocol):
    """Opens one run's data at any position, and gives the state that opening it again needs."""

    def open(self, position: Position) -> Iterator[Any]:
        """Return an iterator over the batches still to come.

        Called at the start of each pass, after the handlers of EPOCH_STARTED, and when a run continues
        inside a pass. It may be `Peekable`: then its next batch can be fetched early.

        Args:
            position: where to open. With `pass_open` False a pass begins here; with True, `batch` batches of it
                have been used. `data_state` is what `state` returned when the position was saved.
        """

    def state(self, position: Position) -> Any:
        """Return what has to be saved besides the position, None for nothing.

        Called when the run is saved or left, also between two passes (`pass_open` False).

        Args:
            position: where the run stands. With `holds_batch` the last batch does not count yet.

        Returns:
            Tensors, numbers, strings, lists and dicts only, so that checkpoints load safely.
        """

    def close(self) -> None:
        """Let go of iterators and workers: the run has ended, or goes on with other data."""


def make_source(data: Any) -> DataSource:
    """Return a source for `data`, by what it is: nothing, stateful, a sequence, or any other iterable."""
    if data is None:
        return NoData()
    if has_state(data):
        return StatefulData(data)
    return SequenceData(data) if is_sequence(data) else IterableData(data)


class IterableData:
    """Data that can only be started: an iterable, or an iterator, which goes on wherever it is."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def open(self, position: Position) -> Iterator[Any]:
        """Start the data; inside a pass this loses the place, so it warns, but for an iterator."""
        length = length_of(self.data)
        if position.pass_open and position.batch == length and position.stage in BEFORE_FETCH:
            return iter(())  # nothing is left of this pass
        iterator: Iterator[Any] = iter(self.data)
        if not position.pass_open:
            return iterator
        if iterator is self.data and length is None:  # with a length it is a loader that begins again
            warn_of_lost_batch(position)
        elif position.batch:
            warnings.warn(
                f"the data cannot be opened after batch {position.batch}, it starts again: {type(self.data)} is no "
                "sequence and has no state_dict(); a DeterministicEngine goes on behind that batch, and so does "
                "create_supervised_trainer(deterministic=True)",
                EngineWarning,
                stacklevel=2,
            )
        return iterator

    def state(self, position: Position) -> Any:
        """Return None: there is nothing to save."""

    def close(self) -> None:
        """Do nothing: the iterator belongs to the run."""


class SequenceData(IterableData):
    """Data whose batches have an index: any of them can be had without those before it."""

    def open(self, position: Position) -> Iterator[Any]:
        """Start the data, or go on with the batch whose index is `position.batch`."""
        return _from_index(self.data, position.batch) if position.pass_open else iter(self.data)


class StatefulData(IterableData):
    """Data with `state_dict` and `load_state_dict`: it knows itself where it is."""

    def open(self, position: Position) -> Iterator[Any]:
        """Start the data; inside a pass, after loading its state."""
        if not position.pass_open:
            return iter(self.data)
        if position.data_state is None and is_sequence(self.data):
            return _from_index(self.data, position.batch)
        if position.data_state is None:
            warnings.warn(
                f"the data starts again: its state after batch {position.batch} was not saved",
                EngineWarning,
                stacklevel=2,
            )
            return iter(self.data)
        self.data.load_state_dict(position.data_state)
        warn_of_lost_batch(position)
        return iter(self.data)

    def state(self, position: Position) -> Any:
        """Return the data's own state; between two passes there is nothing to save, and some has none after all."""
        if not position.pass_open:
            return None
        try:
            return self.data.state_dict()
        except AttributeError:  # a wrapper that hands on the state of something without one; resuming warns of it
            return None


class NoData(IterableData):
    """No data: every batch is None."""

    def __init__(self) -> None:
        super().__init__(None)

    def open(self, position: Position) -> Iterator[Any]:
        """Return None for ever."""
        return repeat(None)


def require_data(data: object) -> None:
    """Refuse what cannot be iterated, and what says that it is empty.

    Raises:
        ArgumentTypeError: `data` is not iterable.
        ArgumentError: `data` has the length 0.
    """
    if data is None:
        return
    if not isinstance(data, Iterable) and not hasattr(type(data), "__getitem__"):
        raise ArgumentTypeError(f"`data` must be iterable, got {data!r} of {type(data)}")
    if length_of(data) == 0:
        raise ArgumentError(f"`data` must have at least one batch, got {data!r} of length 0")


def pass_length(data: object, epoch_length: int | None) -> int | None:
    """Return how many batches a pass over `data` has, as far as can be known; None for one pass that never ends.

    An iterator without a length has one pass only. Other data of unknown length is taken to have passes as
    long as an epoch.
    """
    length = length_of(data)
    if length is None and isinstance(data, Iterator):
        return None
    return length or epoch_length


def as_own_iterator(iterator: Iterator[Any]) -> Iterator[Any]:
    """Return an iterator that `iter` returns as it is, so that several loops in turn go on with it.

    An `__iter__` written in Python may be missing, or start the data anew (a loader that is its own iterator).
    """
    if isinstance(getattr(type(iterator), "__iter__", None), WrapperDescriptorType):
        return iterator
    return starmap(iterator.__next__, repeat(()))


def warn_of_lost_batch(position: Position) -> None:
    """Warn when the run was left with a batch in hand that data which has moved on cannot give again."""
    if position.holds_batch:
        warnings.warn(
            f"the run was left with a batch fetched for iteration {position.iteration + 1}; the data has moved on, so "
            "that batch is lost and the next one takes its place: interrupt() keeps it",
            EngineWarning,
            stacklevel=2,
        )


def _from_index(data: Any, start: int) -> Iterator[Any]:
    """Yield from `start` on; like `iter`, this ends where the data does, whatever its len() says."""
    for index in range(start, len(data)):
        try:
            yield data[index]
        except IndexError:
            return
