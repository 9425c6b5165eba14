"""The list of the checkpoints that a handler keeps: a value, which a save replaces in one step."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from camshaft.handlers.checkpoint._retention import Item, ranked

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

SavedState = OrderedDict[str, list[tuple[float, str]]]


@dataclass(frozen=True)
class SavedList:
    """What a handler has saved and not removed.

    Attributes:
        items: The checkpoints, lowest priority first.
        newest: File name of the one that was written last, None when it is not known.
    """

    items: tuple[Item, ...] = ()
    newest: str | None = None

    @classmethod
    def of(cls, items: Iterable[Item], newest: str | None, *, greater_or_equal: bool) -> Self:
        """Return the list of items that are given in the order of their saving."""
        return cls(tuple(ranked(items, greater_or_equal=greater_or_equal)), newest)

    def without(self, item: Item) -> Self:
        """Return the list without an item."""
        return replace(self, items=tuple(each for each in self.items if each is not item))

    def state_dict(self) -> SavedState:
        """Return the list in the form in which it is saved."""
        return saved_state(self.items)


def saved_state(items: Iterable[Item]) -> SavedState:
    """Return items in the form in which a list is saved: ``{"_saved": [(priority, filename), ...]}``."""
    return OrderedDict(_saved=[(item.priority, item.filename) for item in items])


class Turn:
    """A lock that threads take turns with. A copy of it is free."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Turn], tuple[()]]:
        return Turn, ()
