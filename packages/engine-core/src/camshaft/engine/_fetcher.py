"""The batches of a run: opened where the cursor stands, started again when they end."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

from camshaft.engine._data import DataSource, as_own_iterator, require_data
from camshaft.engine._errors import ArgumentError, EngineWarning
from camshaft.engine._position import Position
from camshaft.engine._value import is_integer, length_of

END: Any = object()
"""Stands for a batch where there is none; a batch itself may be None."""


class Fetcher:
    """Holds the source of some data and the iterator that it has opened.

    Attributes:
        data: what the source was made for.
        source: how the data is opened, and what it saves.
        iterator: gives the batches; None while the data is to be opened.
    """

    def __init__(self, data: Any, source: DataSource) -> None:
        self.data = data
        self.source = source
        self.iterator: Iterator[Any] | None = None
        self._has_warned = False

    def for_data(self, data: Any, make_source: Callable[[Any], DataSource]) -> Fetcher:
        """Return the fetcher of `data`: itself, or a new one after closing itself.

        Args:
            data: what the run has to fetch from now.
            make_source: makes the source of other data.
        """
        if data is self.data:
            return self
        require_data(data)
        source = make_source(data)
        self.close()
        return Fetcher(data, source)

    def open(self, position: Position) -> None:
        """Open the data at `position`."""
        self.iterator = as_own_iterator(self.source.open(position))

    def close(self) -> None:
        """Let go of the iterator, and let the source do the same."""
        self.iterator = None
        self.source.close()

    def fetch(self) -> Any:
        """Return the next batch of the open data, END when there is none."""
        return next(self.iterator, END)  # type: ignore[arg-type]  # the run has opened it

    def warn_exhausted(self, position: Position, epoch_length: int | None, *, is_new: bool) -> None:
        """Warn that data which was started again gives nothing, so that its epoch ends.

        Args:
            position: where the run stands.
            epoch_length: iterations in an epoch, None when it is not known.
            is_new: whether the data was given to this run and has given nothing yet.

        Raises:
            ArgumentError: the data is new: its first pass was empty, and so is the second.
        """
        if is_new:
            raise ArgumentError(f"`data` must give at least one batch, got none from {self.data!r}")
        warnings.warn(
            f"the data gives no more batches: epoch {position.epoch} ends after {position.epoch_iteration} of "
            f"{epoch_length or 'unknown'} iterations; put new data into `state.dataloader` at "
            "DATALOADER_STOP_ITERATION",
            EngineWarning,
            stacklevel=2,
        )

    def warn_if_short(self, given: int) -> None:
        """Warn, once, when a pass gave fewer batches than the data's length says.

        Data may count batches that it leaves out on purpose: those of the pass that has ended are its `left_out` then.

        Args:
            given: batches of the pass.
        """
        length, left_out = length_of(self.data), getattr(self.data, "left_out", 0)
        meant = int(left_out) if is_integer(left_out) else 0
        if length is not None and given + meant < length and not self._has_warned:
            self._has_warned = True
            without = f" and it leaves out {meant}" if meant else ""
            warnings.warn(
                f"the data gave {given} batches though its len() is {length}{without}; it is started again",
                EngineWarning,
                stacklevel=2,
            )
