"""Something that fires events to handlers: attach, remove, look up, fire."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from camshaft.engine._dispatch import Wrap
from camshaft.engine._errors import ArgumentError, ArgumentTypeError
from camshaft.engine._events import CallableEventWithFilter, EventEnum, Events, EventsList
from camshaft.engine._handle import RemovableEventHandle
from camshaft.engine._registry import Registry, require_event
from camshaft.engine._state import require_counter

if TYPE_CHECKING:
    from camshaft.engine._engine import Engine

AnyEvent = str | CallableEventWithFilter
Handler = TypeVar("Handler", bound=Callable[..., Any])


class EventSource:
    """Something that fires events: the base class of `Engine`.

    Attributes:
        last_event_name: the last event fired, None before the first run. Informational only.
    """

    state: Any

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.last_event_name: AnyEvent | None = None
        self._registry = Registry(on_change)

    def on(self, event: AnyEvent | EventsList, *args: Any, **kwargs: Any) -> Callable[[Handler], Handler]:
        """Attach the decorated function to an event; it is returned unchanged.

        Args:
            event: as for `add_event_handler`, and so are `args` and `kwargs`.

        Examples:
            >>> from camshaft.engine import Engine, Events
            >>> engine = Engine(lambda engine, batch: batch)
            >>> @engine.on(Events.STARTED)
            ... @engine.on(Events.COMPLETED)
            ... def show():
            ...     print(engine.last_event_name)
            >>> state = engine.run([1])
            Events.STARTED
            Events.COMPLETED
        """

        def attach(handler: Handler) -> Handler:
            self.add_event_handler(event, handler, *args, **kwargs)
            return handler

        return attach

    def add_event_handler(
        self, event: AnyEvent | EventsList, handler: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> RemovableEventHandle:
        """Attach a handler; it runs after those that are there already.

        The first argument of the handler is the engine, if it has a parameter without a default for it. Otherwise
        the handler is called without the engine. If it has a second parameter, handlers of EXCEPTION_RAISED also get
        the exception, and those of TERMINATE_SINGLE_EPOCH the number of iterations in the epoch.

        A handler that is attached twice runs twice. While an event is fired, handlers may attach and remove others:
        one that is removed before its turn does not run any more, one that is added runs from the next time on.

        Args:
            event: an event, a filtered one, or several joined with `|`.
            handler: any callable.
            args, kwargs: passed on at each call.

        Returns:
            A handle that takes the handler off again.

        Raises:
            ArgumentError: the event is unknown, its filter needs a counter that it lacks, or the
                handler cannot be called with what it will get. Nothing is attached then.

        Examples:
            >>> from camshaft.engine import Engine, Events
            >>> engine = Engine(lambda engine, batch: batch)
            >>> handle = engine.add_event_handler(Events.EPOCH_COMPLETED(every=2), print, "two more epochs")
            >>> engine.has_event_handler(print)
            True
            >>> handle.remove()
        """
        return RemovableEventHandle(event, handler, cast("Engine[Any, Any]", self), self._registry, args, kwargs)

    def remove_event_handler(self, handler: Callable[..., Any], event: AnyEvent | EventsList) -> None:
        """Take a handler off an event, wherever it is attached; a filter is ignored in the look-up.

        Raises:
            ArgumentError: the event is unknown, or the handler is not attached to it.
        """
        events = tuple(event) if isinstance(event, EventsList) else (self._registry.key(event),)
        found = {each: self._registry.find(handler, each) for each in events}
        for each in events:
            if not found[each]:
                raise ArgumentError(f"`handler` must be attached to {each}, got {handler!r}, which is not")
        for listeners in found.values():
            for listener in listeners:
                self._registry.remove(listener)

    def has_event_handler(self, handler: Callable[..., Any], event: AnyEvent | EventsList | None = None) -> bool:
        """Return whether a handler is attached to an event, or (None) to any; a filter is ignored in the look-up.

        Raises:
            ArgumentError: the event is unknown.
        """
        events = event if isinstance(event, EventsList) else (event,)
        return any(self._registry.find(handler, each) for each in events)

    def register_events(
        self,
        *events: str | EventEnum | CallableEventWithFilter,
        event_to_attr: Mapping[Any, str] | None = None,
    ) -> None:
        """Make custom events known to this engine; known ones stay as they are.

        Args:
            events: strings, or members of an `EventEnum`.
            event_to_attr: maps events to the names of attributes of `state` that count them. Such an attribute is
                set to 0 here and in each new run. Increase it yourself before you fire the event.

        Raises:
            ArgumentTypeError: an event is neither a string nor a member of an `EventEnum`.
            ArgumentError: `event_to_attr` is not a mapping, names a counter for a built-in event or an unknown one, or
                a name cannot be that of a counter. Nothing is registered then.

        Examples:
            >>> from camshaft.engine import Engine, EventEnum
            >>> class Backward(EventEnum):
            ...     BACKWARD_STARTED = "backward_started"
            >>> engine = Engine(lambda engine, batch: batch)
            >>> engine.register_events(*Backward, event_to_attr={Backward.BACKWARD_STARTED: "backwards"})
            >>> engine.state.backwards
            0
        """
        if event_to_attr is not None and not isinstance(event_to_attr, Mapping):
            raise ArgumentError(
                f"`event_to_attr` must be a mapping of events to attribute names, got {event_to_attr!r}"
            )
        counters = {require_event(event): name for event, name in (event_to_attr or {}).items()}
        keys = [require_event(event) for event in events]
        for key, name in counters.items():
            if isinstance(key, Events):
                raise ArgumentError(f"`event_to_attr` must leave the built-in events alone, got {key} in it")
            if key not in keys and key not in self._registry:
                raise ArgumentError(
                    f"`event_to_attr` must name known events, got {key!r}; register it in the same call"
                )
            require_counter(name)
        for key in (*keys, *counters):
            self._registry.register(key, counters.get(key))
            if key in counters and not hasattr(self.state, counters[key]):
                setattr(self.state, counters[key], 0)

    def has_registered_events(self, event: object) -> bool:
        """Return whether an event is known to this engine."""
        return event in self._registry

    def fire_event(self, event: AnyEvent) -> None:
        """Run the handlers of an event that are due; meant for custom events.

        Raises:
            ArgumentError: the event is not registered.

        Examples:
            >>> from camshaft.engine import Engine
            >>> engine = Engine(lambda engine, batch: engine.fire_event("halfway"))
            >>> engine.register_events("halfway")
            >>> @engine.on("halfway")
            ... def show():
            ...     print("halfway through", engine.state.batch)
            >>> state = engine.run(["a"])
            halfway through a
        """
        table = self._registry.table(event)
        self.last_event_name = table.event
        call = table.always
        if table.is_scheduled:  # the counter is wherever the user has put it
            table.rewind()
            call = table.at(self.state.get_event_attrib_value(event))
        if call is not None:
            call(self)

    def wrap_handlers(self, wrap: Wrap) -> None:
        """Call every handler through another callable until `unwrap_handlers`, for example to time them.

        It applies to handlers that are there and to those attached later, from the next time that their event is
        fired. A handler that is not due is not called, wrapped or not. Of two wrappers the later one is outside.

        Args:
            wrap: called once for each handler and event, as `wrap(event, handler, call)`. The event has no filter,
                the handler is what was attached, and `call(engine, *event_args)` calls it. What `wrap` returns is
                called in place of `call`.

        Examples:
            >>> from camshaft.engine import Engine, Events
            >>> engine = Engine(lambda engine, batch: batch)
            >>> handle = engine.add_event_handler(Events.COMPLETED, lambda: print("completed"))
            >>> def told(event, handler, call):
            ...     def tell(*args):
            ...         print("calling a handler of", event)
            ...         call(*args)
            ...     return tell
            >>> engine.wrap_handlers(told)
            >>> state = engine.run([1])
            calling a handler of Events.COMPLETED
            completed
            >>> engine.unwrap_handlers(told)
        """
        if not callable(wrap):
            raise ArgumentTypeError(f"`wrap` must be callable as wrap(event, handler, call), got {wrap!r}")
        self._registry.wrap(wrap)

    def unwrap_handlers(self, wrap: Wrap) -> None:
        """Call the handlers as before `wrap_handlers(wrap)`; nothing happens when it is off already."""
        self._registry.unwrap(wrap)
