"""What users ask of a running engine, and the safe points at which it is done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camshaft.engine._events import Events


class Control:
    """Requests to a run. `signal` is the one thing that the loop looks at in each iteration.

    Attributes:
        signal: something below, or a handler, has changed.
        terminate, skip_completed: end the run; whether without COMPLETED.
        terminate_epoch, skip_epoch_completed: end the epoch; whether without EPOCH_COMPLETED.
        interrupt: suspend the run.
        new_data: `state.dataloader` has been replaced for the next fetch.
        is_exact: whether a state saved now continues exactly.
        is_running: whether a run is going on.
        firing: the event outside of iterations whose handlers are being called, None between them.
        early_terminate: `skip_completed` of a terminate() before the run, None without one.
        next_data: what set_data() was given before the run.
    """

    __slots__ = (
        "callbacks", "early_terminate", "firing", "holds", "interrupt", "is_exact", "is_running", "new_data",
        "next_data", "signal", "skip_completed", "skip_epoch_completed", "terminate", "terminate_epoch",
    )  # fmt: skip

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], object]] = []
        self.holds: list[Callable[[], bool]] = []
        self.is_exact = True
        self.is_running = False
        self.firing: Events | None = None
        self.early_terminate: bool | None = None
        self.next_data: Any = None
        self.signal = False
        self.clear()

    def clear(self) -> None:
        """Drop every request to stop."""
        self.terminate = self.skip_completed = False
        self.terminate_epoch = self.skip_epoch_completed = False
        self.interrupt = False
        self.new_data = False

    def notice(self) -> None:
        """Make the loop look."""
        self.signal = True

    def at_safe_point(self, callback: Callable[[], object]) -> None:
        """Keep `callback` for the next safe point."""
        self.callbacks.append(callback)
        self.signal = True

    def is_held(self) -> bool:
        """Tell whether something holds safe points back."""
        return any(hold() for hold in self.holds)

    def reach_safe_point(self) -> None:
        """Run what waits for a safe point, in order; what it asks for in turn runs here too."""
        while self.callbacks:
            self.callbacks.pop(0)()


class _Running(threading.local):
    """The controls of the engines running in this thread, the outermost one first."""

    def __init__(self) -> None:
        self.controls: list[Control] = []


running = _Running()
