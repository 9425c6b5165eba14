"""The batches of a run: opened where the cursor stands, started again when they end."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from camshaft.engine._errors import ArgumentError, EngineWarning
from camshaft.engine._position import Cursor
from camshaft.engine._source import as_lasting, data_length

if TYPE_CHECKING:
    from camshaft.engine._engine import Engine

END: Any = object()
"""Stands for a batch where there is none; a batch itself may be None."""


class Feed:
    """Holds the iterator of a run.

    Attributes:
        iterator: None while the data is to be opened.
    """

    def __init__(self, engine: Engine[Any, Any], cursor: Cursor, iterator: Iterator[Any] | None) -> None:
        self.iterator = iterator
        self._engine = engine
        self._cursor = cursor
        self._data: Any = engine.state.dataloader
        self._has_warned = False

    def open(self) -> Iterator[Any]:
        """Open the data where the cursor stands."""
        cursor, self._data = self._cursor, self._engine.state.dataloader
        self.iterator = as_lasting(self._engine.open_data(self._data, cursor.snapshot(cursor.done)))
        cursor.pass_open, cursor.data_state = True, None
        return self.iterator

    def resume(self) -> None:
        """Let a continued run re-create what it needs; the data is opened if it stands inside a pass."""
        cursor, self._data = self._cursor, self._engine.state.dataloader
        opened = self._engine.resume(self._data, cursor.snapshot(cursor.done))
        if opened is not None:
            self.iterator, cursor.data_state = as_lasting(opened), None

    def fetch(self) -> Any:
        """Return the next batch, END when there is none."""
        return next(self.open() if self.iterator is None else self.iterator, END)

    def end(self) -> bool:
        """Take note that the data has ended; return whether it is to be started again.

        It is not when its end is the epoch's (the length was unknown), nor when it was started
        again in this epoch and gave nothing.

        Raises:
            ArgumentError: the data has never given a batch.
        """
        cursor, state = self._cursor, self._engine.state
        count = cursor.done - cursor.epoch_start
        if state.epoch_length is None and count:
            state.epoch_length = count
            if cursor.pass_start == cursor.epoch_start:
                self._engine.note_length(count)
            return False
        if cursor.is_dry():
            self._warn_dry(count)
            return False
        self._warn_short()
        cursor.next_pass()
        cursor.has_ended = True
        self.iterator = None
        return True

    def _warn_dry(self, count: int) -> None:
        cursor, length = self._cursor, self._engine.state.epoch_length
        if cursor.done == 0 and cursor.data_pass == 1:  # the first pass was empty, and so is this one
            raise ArgumentError(f"`data` must give at least one batch, got none from {self._data!r}")
        warnings.warn(
            f"the data gives no more batches: epoch {cursor.epoch} ends after {count} of {length or 'unknown'} "
            "iterations; put new data into `state.dataloader` at DATALOADER_STOP_ITERATION",
            EngineWarning,
            stacklevel=2,
        )

    def _warn_short(self) -> None:
        length, given = data_length(self._data), self._cursor.done - self._cursor.pass_start
        if length is not None and given < length and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"the data gave {given} batches though its len() is {length}; it is started again",
                EngineWarning,
                stacklevel=2,
            )
