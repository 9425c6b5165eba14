"""The events that an engine knows, and the handlers attached to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from sys import maxsize
from typing import Any

from camshaft.engine._dispatch import DispatchTable, EventKey, Listener, Wrap
from camshaft.engine._errors import ArgumentError, ArgumentTypeError
from camshaft.engine._events import COUNTERS, CallableEventWithFilter, EventEnum, Events, EventsList
from camshaft.engine._signature import Call

_numbers = count(1)  # one for all engines: no two threads get the same
_LAST = maxsize  # of what is called after all others


class Registry:
    """The events that an engine knows, and the handlers on them, in the order of attaching.

    Attaching and removing cost the same however many handlers there are: an event's table is built
    when the event is looked at for the next time. Threads may do both while another one runs the engine: each
    change is one step, and what goes through handlers goes through a list of them that was made in one step.

    Args:
        on_change: called after each change of the handlers, so that a running loop looks again.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._tables: dict[EventKey, DispatchTable] = {event: DispatchTable(event) for event in Events}
        self.counters: dict[EventKey, str] = dict(COUNTERS)
        self._wraps: tuple[Wrap, ...] = ()

    # ------------------------------------------------------------------ events

    def register(self, event: object, counter: str | None = None) -> None:
        """Make `event` known; `counter` names the attribute of the state that counts it."""
        key = require_event(event)
        if key not in self._tables:
            self._tables.setdefault(key, DispatchTable(key))
        if counter is not None:
            self.counters[key] = counter

    def __contains__(self, event: object) -> bool:
        return isinstance(event, str | CallableEventWithFilter) and event in self._tables

    def key(self, event: object) -> EventKey:
        """Return the registered event that `event` is, its filter dropped.

        Raises:
            ArgumentError: the event is not registered.
        """
        key = event.event if isinstance(event, CallableEventWithFilter) else event
        if isinstance(key, str | EventEnum) and key in self._tables:
            return key
        raise ArgumentError(f"`event` must be known to this engine, got {event!r}; {_way_to_know(event)}")

    def table(self, event: object) -> DispatchTable:
        """Return the dispatch table of an event, up to date.

        Raises:
            ArgumentError: the event is not registered.
        """
        try:
            table = self._tables[event]  # type: ignore[index]  # what is no event is found out here
        except (KeyError, TypeError):
            table = self._tables[self.key(event)]  # raises
        if table.is_outdated:
            table.build()
        return table

    def rewind(self) -> None:
        """Let every counter start anew."""
        for table in list(self._tables.values()):
            table.rewind()

    # ------------------------------------------------------------------ handlers

    def attach(
        self,
        event: object,
        handler: Call,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        is_last: bool = False,
    ) -> list[Listener]:
        """Put a handler after the handlers of one event, or of each event of a list.

        Everything is checked before anything is changed.

        Args:
            event, handler, args, kwargs: as for `EventSource.add_event_handler`.
            is_last: it comes after those that are attached later too; an event has one such handler at most.

        Raises:
            ArgumentError: unknown event, a filter on an event without a counter, or a handler
                that cannot be called with what it will get.
        """
        events = event if isinstance(event, EventsList) else (event,)
        number = _LAST if is_last else None
        listeners = [self._make_listener(each, handler, args, kwargs or {}, number) for each in events]
        for listener in listeners:
            self._tables[listener.event].listeners[listener.number] = listener
            self._changed(listener.event)
        return listeners

    def _make_listener(
        self, event: object, handler: Call, args: Sequence[Any], kwargs: Mapping[str, Any], number: int | None
    ) -> Listener:
        if isinstance(event, CallableEventWithFilter) and type(event.event).auto_register:
            for member in type(event.event):
                self.register(member)
        key = self.key(event)
        event_filter = event.filter if isinstance(event, CallableEventWithFilter) else None
        counter = self.counters.get(key)
        if event_filter is not None and counter is None:
            raise ArgumentError(f"a filter needs an event with a counter, got {event!r}; name one with `event_to_attr`")
        listener = Listener(number or next(_numbers), key, handler, args, kwargs, event_filter, counter or "")
        listener.wrap_call(self._wraps)
        return listener

    def remove(self, listener: Listener) -> None:
        """Take a handler off; nothing happens when it is off already."""
        if listener.is_attached:
            listener.is_attached = False
            self._tables[listener.event].listeners.pop(listener.number, None)
            self._changed(listener.event)

    def find(self, handler: object, event: object = None) -> list[Listener]:
        """Return where `handler` is attached, on one event or (None) on any."""
        keys = list(self._tables) if event is None else [self.key(event)]
        return [each for key in keys for each in self._tables[key].in_order() if each.handler == handler]

    def __iter__(self) -> Iterator[Listener]:
        for table in list(self._tables.values()):
            yield from table.in_order()

    def wrap(self, wrap: Wrap) -> None:
        """Call each handler through `wrap`, around what is there already."""
        self._set_wraps((*self._wraps, wrap))

    def unwrap(self, wrap: Wrap) -> None:
        """Take a wrap off again; nothing happens when it is off already."""
        self._set_wraps(tuple(each for each in self._wraps if each != wrap))

    def _set_wraps(self, wraps: tuple[Wrap, ...]) -> None:
        self._wraps = wraps
        for listener in self:
            listener.wrap_call(wraps)
            self._changed(listener.event)

    def _changed(self, event: EventKey) -> None:
        self._tables[event].note_change()
        self._on_change()


def require_event(event: object) -> EventKey:
    """Return `event` without a filter.

    Raises:
        ArgumentTypeError: it is neither a string nor a member of an EventEnum.
    """
    if isinstance(event, CallableEventWithFilter):
        return event.event
    if isinstance(event, str):
        return event
    raise ArgumentTypeError(
        f"an event must be a string or a member of an EventEnum, got {event!r}; {_way_to_know(event)}"
    )


def _way_to_know(event: object) -> str:
    """Return what to do about an event that is none, or is unknown."""
    from difflib import get_close_matches  # here: only an error needs it

    module = type(event).__module__
    if module.partition(".")[0] == "ignite":
        return f"it belongs to pytorch-ignite ({module}), import Events and EventEnum from camshaft.engine"
    close = get_close_matches(str(event).removeprefix("Events.").upper(), list(Events.__members__), n=1)
    hint = f"did you mean Events.{close[0]}? A custom one: " if close else ""
    return f"{hint}call register_events() first"
