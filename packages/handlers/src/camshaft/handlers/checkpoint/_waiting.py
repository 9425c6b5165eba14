"""The saves of a handler that wait for a safe point; a save that holds the list of the handler lets them come first."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import TypeVar

from camshaft.engine import Engine
from camshaft.handlers.checkpoint._objects import Objects, leaves

Handler = TypeVar("Handler")


class Asked:
    """A save that was asked for; it is done once, whoever calls it first.

    Args:
        save: Does it.
    """

    def __init__(self, save: Callable[[], object]) -> None:
        self.thread = threading.get_ident()  # whose run comes to the safe point
        self._save: Callable[[], object] | None = save

    def __call__(self) -> None:
        """Do it, unless that was done before."""
        save, self._save = self._save, None
        if save is not None:
            save()


class Waiting:
    """The saves of a handler that wait for a safe point. A run that drops them is not asked; a copy has none."""

    def __init__(self) -> None:
        self._saves: list[weakref.ref[Asked]] = []  # the run holds them, until it comes there or is left

    def __reduce__(self) -> tuple[type[Waiting], tuple[()]]:
        return Waiting, ()

    def add(self, save: Callable[[], object]) -> Asked:
        """Return what the safe point is to call for a save."""
        asked = Asked(save)
        self._saves = [*(each for each in self._saves if each() is not None), weakref.ref(asked)]
        return asked

    def carry_out(self) -> None:
        """Do what waits for the safe point that this thread has come to."""
        for each in self._saves:
            asked = each()
            if asked is not None and asked.thread == threading.get_ident():
                asked()


def handlers_in(to_save: Objects, kind: type[Handler]) -> Iterator[Handler]:
    """Yield the handlers whose lists are saved with objects, also as a part of an engine's state.

    Args:
        to_save: Names and objects.
        kind: What handlers are.
    """
    for _, leaf in leaves(to_save):
        for each in (leaf, *(leaf.stateful.values() if isinstance(leaf, Engine) else ())):
            if isinstance(each, kind):
                yield each
