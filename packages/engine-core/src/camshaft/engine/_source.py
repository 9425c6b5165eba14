"""Opening data at a position."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat, starmap
from types import WrapperDescriptorType
from typing import Any

from camshaft.engine._errors import ArgumentError, ArgumentTypeError, EngineWarning
from camshaft.engine._events import Events
from camshaft.engine._position import Position


def data_length(data: object) -> int | None:
    """Return how many batches `data` says it has, None when it does not know.

    A `len()` that raises TypeError or NotImplementedError does not know.
    """
    if data is None or not hasattr(type(data), "__len__"):
        return None
    try:
        return len(data)  # type: ignore[arg-type]  # asked above
    except (TypeError, NotImplementedError):
        return None


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
    if data_length(data) == 0:
        raise ArgumentError(f"`data` must have at least one batch, got {data!r} of length 0")


def is_stateful(data: object) -> bool:
    """Tell whether `data` saves and restores its own position."""
    return hasattr(data, "state_dict") and hasattr(data, "load_state_dict")


def is_sequence(data: object) -> bool:
    """Tell whether any batch of `data` can be had by its index."""
    kind = type(data)
    return hasattr(kind, "__len__") and hasattr(kind, "__getitem__") and not isinstance(data, Mapping)


def open_data(data: Any, position: Position) -> Iterator[Any]:
    """Return an iterator over the batches of `data` that are still to come.

    A pass that is not open yet starts at its beginning. An open one goes on behind the batches
    that were consumed: sequences by index, data with `load_state_dict` through its own state, an
    iterator wherever it is; anything else starts again, with a warning.
    """
    if data is None:
        return repeat(None)
    if not position.pass_open:
        return iter(data)
    if is_stateful(data) and position.data_state is not None:
        data.load_state_dict(position.data_state)
        _warn_of_lost_batch(position)
        return iter(data)
    if is_sequence(data):
        return _by_index(data, position.batch)
    iterator: Iterator[Any] = iter(data)
    if iterator is data and data_length(data) is None:  # with a length it is a loader that begins again
        _warn_of_lost_batch(position)
    elif position.batch:
        warnings.warn(
            f"the data cannot be opened behind batch {position.batch}, it starts again: {type(data)} is no sequence "
            "and has no state_dict()",
            EngineWarning,
            stacklevel=2,
        )
    return iterator


def as_lasting(iterator: Iterator[Any]) -> Iterator[Any]:
    """Return an iterator that `iter` returns as it is, so that several loops in turn go on with it.

    An `__iter__` written in Python may be missing, or start the data anew (a loader that is its own iterator).
    """
    if isinstance(getattr(type(iterator), "__iter__", None), WrapperDescriptorType):
        return iterator
    return starmap(iterator.__next__, repeat(()))


def _by_index(data: Any, start: int) -> Iterator[Any]:
    """Yield from `start` on; like `iter`, this ends where the data does, whatever its len() says."""
    for place in range(start, len(data)):
        try:
            yield data[place]
        except IndexError:
            return


def _warn_of_lost_batch(position: Position) -> None:
    if position.stage in (Events.ITERATION_STARTED.name, Events.ITERATION_COMPLETED.name):
        warnings.warn(
            f"the run was left with a batch fetched for iteration {position.iteration + 1}; the data has moved on, so "
            "that batch is lost and the next one takes its place: interrupt() keeps it",
            EngineWarning,
            stacklevel=2,
        )
