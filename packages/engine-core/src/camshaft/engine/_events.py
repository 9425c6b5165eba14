"""Events: the built-in ones, custom ones, filtered ones, and lists of them. All are immutable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum, EnumType
from typing import TYPE_CHECKING, Any, Never, NoReturn

from camshaft.engine._errors import ArgumentError, ArgumentTypeError, NotCallableError
from camshaft.engine._event_schedule import make_schedule
from camshaft.engine._signature import accepts

if TYPE_CHECKING:
    from camshaft.engine._engine import Engine

EventFilter = Callable[["Engine[Any, Any]", int], bool]


class CallableEventWithFilter:
    """An event, or an event together with a filter that decides when its handlers run.

    A filtered event equals and hashes like the event that it filters. Two members of different
    enums are different events even when their names are equal.

    Examples:
        >>> Events.EPOCH_STARTED(every=2) == Events.EPOCH_STARTED
        True
        >>> Events.EPOCH_STARTED(every=2).filter(None, 4)
        True
    """

    name: str
    value: Any

    @property
    def event(self) -> EventEnum:
        """The event without its filter."""
        raise NotImplementedError

    @property
    def filter(self) -> EventFilter | None:
        """`filter(engine, counter_value) -> bool`; None when the event is not filtered."""
        return None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CallableEventWithFilter):
            return NotImplemented
        return self.event is other.event

    def __hash__(self) -> int:
        return hash(self.event)

    def __or__(self, other: object) -> EventsList:
        return EventsList(self) | other

    def __call__(
        self,
        event_filter: EventFilter | None = None,
        every: int | None = None,
        once: int | list[int] | None = None,
        before: int | None = None,
        after: int | None = None,
        **unknown: Never,
    ) -> CallableEventWithFilter:
        """Return this event with a filter: `event_filter`, or `once`, or some of `every`, `before` and `after`.

        Args:
            event_filter: `f(engine, value) -> bool`, asked at each firing; `value` is the event's counter.
            every: due when the counter is a multiple of it; at least 1.
            once: due when the counter equals it, or is one of several; each at least 1.
            before: due while the counter is below it; combines with `after` and `every`.
            after: due while the counter is above it; with `every`, the first one due is `after + 1`.
            unknown: a misspelt name, which is refused.

        Raises:
            ArgumentTypeError: there is no filter of that name.
            ArgumentError: no filter is given, or some that do not go together; a value is out of range; or
                `event_filter` cannot be called with two arguments.

        Examples:
            >>> event = Events.ITERATION_COMPLETED(every=3, before=10)
            >>> [value for value in range(20) if event.filter(None, value)]
            [1, 4, 7]
        """
        if unknown:
            raise ArgumentTypeError(
                f"`{next(iter(unknown))}` must be one of `event_filter`, `every`, `once`, `before`, `after`, "
                f"got {unknown}"
            )
        scheduled = any(argument is not None for argument in (every, once, before, after))
        if scheduled == (event_filter is not None):
            raise ArgumentError(
                "an event takes one kind of filter: `event_filter`, or `once`, or some of `every`, `before`, `after`, "
                f"got {'both' if scheduled else 'none'}"
            )
        if event_filter is None:
            return FilteredEvent(self.event, make_schedule(every, once, before, after))
        if not callable(event_filter) or not accepts(event_filter, None, None):
            raise NotCallableError(f"`event_filter` must be callable with (engine, value), got {event_filter!r}")
        return FilteredEvent(self.event, event_filter)


class FilteredEvent(CallableEventWithFilter):
    """An event and the filter that decides when its handlers run."""

    __slots__ = ("_event", "_filter", "name", "value")

    def __init__(self, event: EventEnum, event_filter: EventFilter) -> None:
        set_once = super().__setattr__
        set_once("_event", event)
        set_once("_filter", event_filter)
        set_once("name", event.name)
        set_once("value", event.value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"an event is immutable: {name!r} cannot be set")

    @property
    def event(self) -> EventEnum:
        """The event without its filter."""
        return self._event  # type: ignore[no-any-return, attr-defined]  # a slot set through __setattr__

    @property
    def filter(self) -> EventFilter:
        """`filter(engine, counter_value) -> bool`."""
        return self._filter  # type: ignore[no-any-return, attr-defined]  # a slot set through __setattr__

    def __repr__(self) -> str:
        return f"{self.event}({self.filter!r})"

    def __reduce__(self) -> tuple[type[FilteredEvent], tuple[EventEnum, EventFilter]]:
        return FilteredEvent, (self.event, self.filter)


class _EventEnumType(EnumType):
    """Lets an enum of events carry `auto_register` as a plain attribute instead of as a member."""

    auto_register: bool = False

    @classmethod
    def __prepare__(  # type: ignore[override]  # typeshed makes the first arguments positional
        metacls,  # noqa: N804  # a class method of a metaclass
        cls: str,
        bases: tuple[type, ...],
        **kwds: Any,
    ) -> Any:
        namespace = super().__prepare__(cls, bases, **kwds)
        namespace["_ignore_"] = ["auto_register"]
        return namespace

    def __new__(metacls, cls: str, bases: tuple[type, ...], classdict: Any, **kwds: Any) -> Any:
        auto_register = classdict.get("auto_register")
        enum_class = super().__new__(metacls, cls, bases, classdict, **kwds)
        if auto_register is not None:
            enum_class.auto_register = auto_register
        return enum_class


class EventEnum(CallableEventWithFilter, Enum, metaclass=_EventEnumType):
    """Base class of custom events.

    A subclass may set `auto_register = True`; attaching a handler to one of its members then
    registers the class's members on that engine.

    Examples:
        >>> class Backward(EventEnum):
        ...     BACKWARD_STARTED = "backward_started"
        >>> Backward.BACKWARD_STARTED(every=10).name
        'BACKWARD_STARTED'
    """

    # A member is one object: its identity is its hash, and a look-up costs next to nothing.
    __hash__ = object.__hash__

    @property
    def event(self) -> EventEnum:
        """The event itself."""
        return self

    def __str__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    __repr__ = __str__


class Events(EventEnum):
    """The events that a run fires; `Engine.run` shows their order."""

    STARTED = "started"
    EPOCH_STARTED = "epoch_started"
    GET_BATCH_STARTED = "get_batch_started"
    GET_BATCH_COMPLETED = "get_batch_completed"
    ITERATION_STARTED = "iteration_started"
    ITERATION_COMPLETED = "iteration_completed"
    DATALOADER_STOP_ITERATION = "dataloader_stop_iteration"
    EXCEPTION_RAISED = "exception_raised"
    TERMINATE_SINGLE_EPOCH = "terminate_single_epoch"
    TERMINATE = "terminate"
    INTERRUPT = "interrupt"
    EPOCH_COMPLETED = "epoch_completed"
    COMPLETED = "completed"


# Which attribute of the state counts an event: what its filters are asked about. The other events have no counter.
COUNTERS: Mapping[EventEnum | str, str] = {
    Events.STARTED: "epoch",
    Events.EPOCH_STARTED: "epoch",
    Events.GET_BATCH_STARTED: "iteration",
    Events.GET_BATCH_COMPLETED: "iteration",
    Events.ITERATION_STARTED: "iteration",
    Events.ITERATION_COMPLETED: "iteration",
    Events.EPOCH_COMPLETED: "epoch",
    Events.COMPLETED: "epoch",
}
# What an event brings along for its handlers, besides the engine.
EVENT_ARGS: Mapping[EventEnum | str, str] = {
    Events.EXCEPTION_RAISED: "exception",
    Events.TERMINATE_SINGLE_EPOCH: "iter_counter",
}


class EventsList:
    """Several events at once, written `A | B`; each stays as it is, duplicates are kept.

    Examples:
        >>> both = Events.STARTED | Events.COMPLETED
        >>> len(both), both[1].name
        (2, 'COMPLETED')
    """

    __slots__ = ("_events",)

    def __init__(self, *events: CallableEventWithFilter) -> None:
        for event in events:
            if not isinstance(event, CallableEventWithFilter):
                raise ArgumentTypeError(f"an events list must hold events only, got {event!r}")
        self._events = events

    def __iter__(self) -> Iterator[CallableEventWithFilter]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def __getitem__(self, place: int) -> CallableEventWithFilter:
        return self._events[place]

    def __or__(self, other: object) -> EventsList:
        if isinstance(other, EventsList):
            return EventsList(*self, *other)
        if isinstance(other, CallableEventWithFilter):
            return EventsList(*self, other)
        raise ArgumentTypeError(f"`|` joins events, got {other!r}")

    def __repr__(self) -> str:
        return " | ".join(str(event) for event in self._events)
