"""An iterator as data that has come to its end: whether it gives batches again is not known."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

from camshaft.deterministic._kinds._kind import LAST
from camshaft.deterministic._kinds._pass import Pass
from camshaft.deterministic._kinds._redrawn import compare_last

# In a state between two passes: the last one that has ended.
FINISHED = "finished"


class IteratorEnd:
    """Knows the last pass over an iterator that has ended, of which nobody knows whether it gives batches again.

    A file does not, one that begins anew does. So a new process draws that pass again, to its end.

    Args:
        draws: whether that is to be done.
    """

    def __init__(self, *, draws: bool) -> None:
        self._draws = draws
        self._finished: dict[str, Any] | None = None

    def note(self, opened: Pass | None) -> dict[str, Any] | None:
        """Note a pass if it has ended, and return what is known of the last one that had batches."""
        if self._draws and opened is not None and opened.has_ended and opened.given and opened.last() is not None:
            self._finished = {"data_pass": opened.data_pass, "drawn": opened.given, LAST: opened.last()}
        return self._finished

    def draw_again(
        self, finished: dict[str, Any] | None, begin: Callable[[int], Pass], report: Callable[..., None]
    ) -> None:
        """Draw a pass of the saved run again, unless the iterator is at its end already, and compare it.

        Args:
            finished: what `note` has returned.
            begin: begins the pass of a number.
            report: called with what differs.
        """
        if not self._draws or finished is None or finished == self._finished:
            return
        self._finished = dict(finished)
        opened, count = begin(finished["data_pass"]), finished["drawn"]
        drawn = sum(1 for _ in islice(opened, count + 1))
        if drawn and drawn != count:
            report({"batches": (count, drawn if drawn < count else f"more than {count}")})
        elif drawn:
            compare_last(opened, finished[LAST], report)
