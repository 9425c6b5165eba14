"""The handle that takes a handler off again."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from types import MethodType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from camshaft.engine._dispatch import Listener
from camshaft.engine._events import CallableEventWithFilter, EventsList
from camshaft.engine._registry import Registry
from camshaft.engine._signature import Call

if TYPE_CHECKING:
    from camshaft.engine._engine import Engine


class RemovableEventHandle:
    """Takes a handler off again; as a context manager, at the end of the block.

    Handler and engine are held weakly. `remove` may be called twice. Entering the block after a
    removal puts the handler back, at the end of its event's handlers.

    Args:
        event_name: an event, a filtered one, or a list of events.
        handler: any callable.
        engine: the engine that it is attached to.
        registry: the engine's handlers.
        args, kwargs: passed on at each call of the handler.

    Attributes:
        event_name: the event, or the list of events, that the handler was attached to.
        handler: returns the handler, None once it is gone.
        engine: returns the engine, None once it is gone.

    Examples:
        >>> from camshaft.engine import Engine, Events
        >>> engine = Engine(lambda engine, batch: batch)
        >>> seen = []
        >>> with engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: seen.append("epoch")):
        ...     state = engine.run([1, 2])
        >>> state = engine.run([1, 2])
        >>> seen
        ['epoch']
    """

    def __init__(
        self,
        event_name: str | CallableEventWithFilter | EventsList,
        handler: Call,
        engine: Engine[Any, Any],
        registry: Registry,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.event_name = event_name
        self.handler: Callable[[], Call | None] = _weak_reference(handler)
        self.engine: Callable[[], Engine[Any, Any] | None] = weakref.ref(engine)
        self._registry = weakref.ref(registry)
        self._args, self._kwargs = args, kwargs
        self._listeners = _weakly(registry.attach(event_name, handler, args, kwargs))

    def remove(self) -> None:
        """Take the handler off all the events of this handle; a second call does nothing."""
        registry = self._registry()
        for reference in self._listeners:
            listener = reference()
            if registry is not None and listener is not None:
                registry.remove(listener)
        self._listeners = []

    def __enter__(self) -> Self:
        registry, handler = self._registry(), self.handler()
        if not self._listeners and registry is not None and handler is not None:
            self._listeners = _weakly(registry.attach(self.event_name, handler, self._args, self._kwargs))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()


def _weakly(listeners: Sequence[Listener]) -> list[weakref.ref[Listener]]:
    return [weakref.ref(each) for each in listeners]


def _weak_reference(handler: Call) -> Callable[[], Call | None]:
    """Return a weak reference; builtins that allow none are held as they are."""
    if isinstance(handler, MethodType):
        return weakref.WeakMethod(handler)
    try:
        return weakref.ref(handler)
    except TypeError:
        return lambda: handler
