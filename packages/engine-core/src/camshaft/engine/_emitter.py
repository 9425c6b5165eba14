"""How a run fires the built-in events that are not fired in every iteration, and reaches safe points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from camshaft.engine._events import Events
from camshaft.engine._registry import Registry
from camshaft.engine._requests import Requests
from camshaft.engine._signature import Call

if TYPE_CHECKING:
    from camshaft.engine._engine import Engine


class Emitter:
    """Fires the events of one run.

    Attributes:
        firing: the event whose handlers are being called, None between events and inside iterations.
        is_exact: whether a state saved now continues exactly.
    """

    def __init__(self, engine: Engine[Any, Any], registry: Registry, requests: Requests) -> None:
        self._engine = engine
        self._registry = registry
        self._requests = requests
        self.firing: Events | None = None
        self.is_exact = True

    def prepare(self, event: Events, value: int = 0) -> Call | None:
        """Return what calls the handlers of an event that are due at the counter `value`, None when there are none."""
        self.firing = event
        self._engine.last_event_name = event
        return self._registry.table(event).at(value)

    def fire(self, event: Events, *event_args: object, value: int = 0) -> None:
        """Call the handlers of an event that are due at the counter `value`."""
        if (call := self.prepare(event, value)) is not None:
            call(self._engine, *event_args)
        self.firing = None

    def fire_last(self, event: Events, *event_args: object) -> None:
        """Fire an event after which there may be no other: what waits for a safe point waits no longer."""
        self.fire(event, *event_args)
        self.reach_last_safe_point()

    def reach_last_safe_point(self) -> None:
        """Call what waits for a safe point, also where something holds it back: then it is not exact."""
        requests = self._requests
        requests.give_up_waiting()
        while requests.callbacks:
            was_exact, self.is_exact = self.is_exact, self.is_exact and not requests.is_held()
            try:
                requests.call_back()
            finally:
                self.is_exact = was_exact
            requests.give_up_waiting()  # for what was begun here
