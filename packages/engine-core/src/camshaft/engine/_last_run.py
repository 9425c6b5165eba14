"""What a run leaves behind for the next one."""

from __future__ import annotations

from typing import Any, NamedTuple

from camshaft.engine._fetcher import Fetcher
from camshaft.engine._position import Position
from camshaft.engine._stopwatch import Stopwatch


class Suspended(NamedTuple):
    """What an interrupted run keeps besides its position, so that it goes on as if nothing had been.

    Attributes:
        fetcher: holds the open iterator.
        batch: a batch that was fetched and not used; `END` when there is none.
        epoch_watch, run_watch: paused.
    """

    fetcher: Fetcher
    batch: Any
    epoch_watch: Stopwatch
    run_watch: Stopwatch


class FoundLength(NamedTuple):
    """How many iterations an epoch of some data turned out to have."""

    data: Any
    length: int


class LastRun(NamedTuple):
    """What the last run, or a loaded state, has left for the next call of `run`.

    Attributes:
        position: where it stands; None before the first run.
        is_implied: the position is to be derived from its counters (a loaded plain dict).
        is_loaded: a state was loaded since the last run: it always continues.
        was_terminated: the run was ended by `terminate`.
        is_exact: False when the run failed: what raised may be half done.
        suspended: what is kept of an interrupted run.
        found_length: the length that was found for data which did not know it.
    """

    position: Position | None = None
    is_implied: bool = False
    is_loaded: bool = False
    was_terminated: bool = False
    is_exact: bool = True
    suspended: Suspended | None = None
    found_length: FoundLength | None = None
