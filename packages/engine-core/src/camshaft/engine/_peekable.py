"""Iterators whose next batch can be fetched before it is asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any


class Peekable(Iterator[Any]):
    """An iterator over batches that can fetch the next one early: while a GPU is busy with the one before, say.

    What a `DataSource` opens may be one. Until the batch is given out, it does not count: `DataSource.state` returns
    what it would have returned before `peek`.
    """

    @abstractmethod
    def peek(self) -> tuple[Any, ...]:
        """Fetch the next batch, if that was not done yet. The next call of `next` gives it out.

        Returns:
            The batch, in a tuple of one. An empty tuple where it must not be fetched early, where there is none, and
            where the data has raised an error: the next call of `next` does then what it would have done anyway.
        """


class LookAhead(Peekable):
    """Makes any iterator peekable.

    Attributes:
        kept: what `keep_state` returned before the batch was fetched that is not given out yet.

    Args:
        batches: the iterator.
        keep_state: called before a batch is fetched early. What it returns says where the data stands then. Where it
            raises an error, the batch is not fetched early.

    Examples:
        >>> batches = LookAhead(iter("ab"))
        >>> batches.peek(), batches.is_ahead, next(batches), batches.is_ahead
        (('a',), True, 'a', False)
        >>> next(batches), batches.peek()
        ('b', ())
    """

    def __init__(self, batches: Iterator[Any], keep_state: Callable[[], Any] = lambda: None) -> None:
        self.kept: Any = None
        self._batches = batches
        self._keep_state = keep_state
        self._fetched: tuple[Any, ...] | None = None
        self._error: Exception | None = None

    @property
    def is_ahead(self) -> bool:
        """Whether the next batch was fetched, or its fetch has raised an error, and nobody was told yet."""
        return self._fetched is not None

    def __next__(self) -> Any:
        fetched, error = self._fetched, self._error
        if fetched is None:
            return next(self._batches)
        self._fetched = self._error = self.kept = None
        if error is not None:
            raise error
        return fetched[0]

    def peek(self) -> tuple[Any, ...]:
        """Fetch the next batch, if that was not done yet; see `Peekable.peek`."""
        if self._fetched is None:
            try:
                self.kept = self._keep_state()
            except Exception:  # noqa: BLE001  # data that cannot say where it stands; whoever saves it is told
                return ()
            try:
                self._fetched = (next(self._batches),)
            except Exception as error:  # noqa: BLE001  # the end, or what the data raises: it belongs to the next batch
                self._fetched, self._error = (), error
        return self._fetched
