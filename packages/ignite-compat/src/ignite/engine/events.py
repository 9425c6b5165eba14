"""Events, the state and handles; see :mod:`camshaft.engine`."""

from camshaft.engine import CallableEventWithFilter, EventEnum, Events, EventsList, RemovableEventHandle, State

__all__ = ["CallableEventWithFilter", "EventEnum", "Events", "EventsList", "RemovableEventHandle", "State"]
