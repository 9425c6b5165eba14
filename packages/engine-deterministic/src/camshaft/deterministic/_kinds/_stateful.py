"""Data that saves and restores its own place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from camshaft.deterministic._fetch import Seeding
from camshaft.deterministic._kinds._kind import Setting, entries_of, warn_of_lost_batch
from camshaft.deterministic._kinds._pass import Pass
from camshaft.deterministic._kinds._replayed import ReplayedData
from camshaft.deterministic._kinds._stateful_passes import EARLY, ENDED, FRESH, begin_pass, read_place, resume_pass
from camshaft.deterministic._order import tell_epoch
from camshaft.engine import Position

# Marks a state that is more than what the data saved.
_MARK = "stateful data"


class StatefulData:
    """Opens a pass through `load_state_dict`, which must make the next iteration go on where the state was saved.

    It is neither drawn from nor loaded but to open it. What a new pass over data does that was left in the middle is
    the data's: it begins anew, or, with an attribute `keeps_place = True`, goes on where it is.

    Args:
        data: the user's data.
        setting: what the passes depend on beside it.
    """

    name: ClassVar[str] = "stateful"

    def __init__(self, data: Any, setting: Setting) -> None:
        self._data = data
        self._setting = setting
        self._opened: Pass | None = None
        self._loaded: Any = None
        self._before: Mapping[str, Any] | None = None  # between passes, after loading: where the data stands
        self._start: Mapping[str, Any] = {}  # where the data stood between the passes, as this one began
        self._replayed: ReplayedData | None = None  # where the state is another rank's

    @staticmethod
    def describe(data: Any, seeding: Seeding | None) -> dict[str, Any]:
        """Return nothing: what the data depends on is its own."""
        del data, seeding
        return {}

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches behind `position`."""
        undrawn = self._undrawn_place()
        self._loaded, self._replayed = position.data_state if position.pass_open else None, None
        if position.pass_open and self._loaded is None:
            self._replayed = ReplayedData(self._data, self._setting)
            return self._replayed.open(position)
        if position.pass_open:
            return self._open_inside(position)
        loaded = _marked(position.data_state).get("between") if self._opened is None else None
        place, self._before = self._before or loaded or undrawn, None
        self._start = place or self._read_place()
        tell_epoch(self._data, position.data_pass)
        self._opened = Pass(
            self._iterate() if place is None else begin_pass(self._data, place, self._iterate), position
        )
        return self._opened

    def state(self, position: Position) -> Any:
        """Return what the data saves."""
        if self._replayed is not None and position.pass_open:
            return self._replayed.state(position)
        if self._opened is None:
            return position.data_state
        if not position.pass_open:
            return {_MARK: {"between": self._before or self._undrawn_place() or self._read_place()}}
        return self._state_inside(self._opened)

    def close(self) -> None:
        """Let go of the iterator."""
        for opened in (self._opened, self._replayed):
            if opened is not None:
                opened.close()

    def _open_inside(self, position: Position) -> Iterator[Any]:
        entries = _marked(self._loaded)
        tell_epoch(self._data, position.data_pass)
        if "ended" in entries:
            self._before = entries["ended"]
            self._opened = Pass(iter(()), position, has_ended=True)
        elif "start" in entries:
            self._start = entries["start"]
            self._opened = Pass(begin_pass(self._data, self._start, self._iterate), position)
        else:
            warn_of_lost_batch(position, self._data)
            self._opened = Pass(resume_pass(self._data, self._loaded, self._iterate), position)
        return self._opened

    def _state_inside(self, opened: Pass) -> Any:
        if self._loaded is not None and not opened.has_drawn:  # data may know its place again only when it goes on
            return self._loaded
        if opened.has_ended:
            return {_MARK: {"ended": self._before or self._read_place()}}
        return self._data.state_dict() if opened.given else {_MARK: {"start": self._start}}

    def _undrawn_place(self) -> dict[str, Any] | None:
        """Return where the data stands if nothing was drawn since it was opened inside a pass."""
        is_undrawn = self._opened is not None and not self._opened.has_drawn
        is_loaded = self._loaded is not None and self._replayed is None and not _marked(self._loaded)
        return {"state": self._loaded, "left": EARLY} if is_undrawn and is_loaded else None

    def _iterate(self) -> Iterator[Any]:
        return iter(self._data)

    def _read_place(self) -> dict[str, Any]:
        left = FRESH if self._opened is None else ENDED if self._opened.has_ended else EARLY
        return read_place(self._data, left)


def _marked(state: Any) -> Mapping[str, Any]:
    return entries_of(entries_of(state).get(_MARK))
