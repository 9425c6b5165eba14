"""Which handlers sit on which event, and which of them are due at a counter value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush, heapreplace
from sys import maxsize
from typing import TYPE_CHECKING, Any

from camshaft.engine._calling import Call, make_call
from camshaft.engine._errors import ArgumentError, ArgumentTypeError
from camshaft.engine._events import CallableEventWithFilter, EventEnum, Events, EventsList
from camshaft.engine._schedule import Once, Periodic, Schedule

if TYPE_CHECKING:
    from camshaft.engine._engine import Engine

EventKey = EventEnum | str
Wrap = Callable[[EventKey, Call, Call], Call]
NEVER = maxsize

COUNTERS: Mapping[EventKey, str] = {
    Events.EPOCH_STARTED: "epoch",
    Events.EPOCH_COMPLETED: "epoch",
    Events.GET_BATCH_STARTED: "iteration",
    Events.GET_BATCH_COMPLETED: "iteration",
    Events.ITERATION_STARTED: "iteration",
    Events.ITERATION_COMPLETED: "iteration",
}
EVENT_ARGS: Mapping[EventKey, int] = {Events.EXCEPTION_RAISED: 1, Events.TERMINATE_SINGLE_EPOCH: 1}


class Attachment:
    """One handler on one event: how to call it, when it is due, whether it still sits there."""

    __slots__ = ("__weakref__", "_counter", "_settled", "call", "event", "filter", "handler", "is_attached", "order")

    def __init__(
        self, order: int, event: EventKey, handler: Call, call: Call, event_filter: Call | None, counter: str | None
    ) -> None:
        self.order = order
        self.event = event
        self.handler = handler
        self.filter = event_filter
        self.is_attached = True
        self._settled = call
        self._counter = counter or ""
        self.wire(())

    @property
    def schedule(self) -> Schedule | None:
        """When the handler is due; None at every value, or whenever a filter of the user's own says so."""
        return self.filter if isinstance(self.filter, Periodic | Once) else None

    def wire(self, wraps: Sequence[Wrap]) -> None:
        """Make `call` anew, each of `wraps` around the one before it."""
        self.call = self._settled
        for wrap in wraps:
            self.call = wrap(self.event, self.handler, self.call)
        if self.filter is not None and self.schedule is None:
            self.call = self._filtered(self.filter, self.call)

    def _filtered(self, event_filter: Call, call: Call) -> Call:
        # A filter of the user's own is asked when it is the handler's turn, not before. Events with
        # arguments of their own have no counter, so none are passed on.
        counter = self._counter

        def call_if_due(engine: Engine[Any, Any]) -> None:
            if event_filter(engine, getattr(engine.state, counter)):
                call(engine)

        return call_if_due


class Agenda:
    """The handlers of one event, compiled into calls that a loop can make without looking at them.

    At counter value `v` a loop calls `ready if v < next_due else at(v)`, unless that is None.

    Attributes:
        event: the event.
        ready: calls the handlers that run at every value; None when there are none.
        is_scheduled: whether there are others, which run at some values only.
        next_due: the smallest value at which scheduled handlers join in. It only moves forward:
            `rewind` before counting anew.
    """

    __slots__ = (
        "_always", "_coming", "_compiled", "_groups", "_is_stale", "event", "is_scheduled", "next_due", "ready",
    )  # fmt: skip

    def __init__(self, event: EventKey | None = None) -> None:
        self.event = event
        self.arrange(())

    def arrange(self, attachments: Sequence[Attachment]) -> None:
        """Take over the handlers of the event, in their order."""
        self._always = tuple(each for each in attachments if each.schedule is None)
        groups: dict[Schedule, list[Attachment]] = {}
        for each in attachments:
            if each.schedule is not None:
                groups.setdefault(each.schedule, []).append(each)
        self._groups = {schedule: tuple(members) for schedule, members in groups.items()}
        self._compiled: dict[tuple[Schedule, ...], Call | None] = {}
        self.ready = _compile(self._always)
        self.is_scheduled = bool(groups)
        self.rewind()

    def rewind(self) -> None:
        """Forget how far the counter has come."""
        self._is_stale = self.is_scheduled
        self._coming: list[tuple[int, int, Schedule]] = []
        self.next_due = -1 if self.is_scheduled else NEVER

    def at(self, value: int) -> Call | None:
        """Return what calls the handlers due at `value`, in the order of attaching; None when there are none."""
        if self._is_stale:
            self._look_ahead(value)
        coming = self._coming
        due: tuple[Schedule, ...] = ()
        while coming and coming[0][0] <= value:
            planned, place, schedule = coming[0]
            if planned == value or schedule.next_due(value) == value:
                due += (schedule,)
            following = schedule.next_due(value + 1)
            if following is None:
                heappop(coming)
            else:
                heapreplace(coming, (following, place, schedule))
        self.next_due = coming[0][0] if coming else NEVER
        if not due:
            return self.ready
        try:
            return self._compiled[due]
        except KeyError:
            members = [each for schedule in due for each in self._groups[schedule]]
            call = _compile(tuple(sorted((*self._always, *members), key=_by_order)))
            if len(due) == 1:  # what coincides is looked up anew: there are too many ways to coincide
                self._compiled[due] = call
            return call

    def _look_ahead(self, value: int) -> None:
        self._coming = []
        for place, schedule in enumerate(self._groups):
            due = schedule.next_due(value)
            if due is not None:
                heappush(self._coming, (due, place, schedule))
        self._is_stale = False
        self.next_due = self._coming[0][0] if self._coming else NEVER


def _compile(attachments: tuple[Attachment, ...]) -> Call | None:
    """Return one call for all of `attachments`; one that is taken off meanwhile is left out."""
    if len(attachments) < 2:
        return attachments[0].call if attachments else None

    def call_each(engine: Engine[Any, Any]) -> None:
        for each in attachments:
            if each.is_attached:
                each.call(engine)

    def call_each_with(engine: Engine[Any, Any], *event_args: object) -> None:
        for each in attachments:
            if each.is_attached:
                each.call(engine, *event_args)

    # Passing on arguments that are not there would take as long as the call.
    return call_each_with if attachments[0].event in EVENT_ARGS else call_each


def _by_order(attachment: Attachment) -> int:
    return attachment.order


class Registry:
    """The events that an engine knows, and the handlers on them, in the order of attaching.

    Args:
        on_change: called after each change of the handlers, so that a running loop looks again.
    """

    def __init__(self, on_change: Callable[[], None]) -> None:
        self._on_change = on_change
        self._attachments: dict[EventKey, list[Attachment]] = {event: [] for event in Events}
        self._agendas: dict[EventKey, Agenda] = {event: Agenda(event) for event in self._attachments}
        self.counters: dict[EventKey, str] = dict(COUNTERS)
        self._wraps: tuple[Wrap, ...] = ()
        self._count = 0

    @staticmethod
    def require_event(event: object) -> EventKey:
        """Return `event` without a filter.

        Raises:
            ArgumentTypeError: it is neither a string nor a member of an EventEnum.
        """
        if isinstance(event, CallableEventWithFilter):
            return event.event
        if isinstance(event, str):
            return event
        raise ArgumentTypeError(f"an event must be a string or a member of an EventEnum, got {event!r}")

    def register(self, event: object, counter: str | None = None) -> None:
        """Make `event` known; `counter` names the attribute of the state that counts it."""
        key = self.require_event(event)
        if key not in self._attachments:
            self._attachments[key] = []
            self._agendas[key] = Agenda(key)
        if counter is not None:
            self.counters[key] = counter

    def __contains__(self, event: object) -> bool:
        return isinstance(event, str | CallableEventWithFilter) and event in self._attachments

    def key(self, event: object) -> EventKey:
        """Return the registered event behind `event`, its filter dropped.

        Raises:
            ArgumentError: the event is not registered.
        """
        key = event.event if isinstance(event, CallableEventWithFilter) else event
        if not isinstance(key, str | EventEnum) or key not in self._attachments:
            raise ArgumentError(f"`event` must be known to this engine, got {event!r}; call register_events() first")
        return key

    def agenda(self, event: object) -> Agenda:
        """Return the ready calls of an event; the same object for the engine's whole life.

        Raises:
            ArgumentError: the event is not registered.
        """
        try:
            return self._agendas[event]  # type: ignore[index]  # what is no event is found out here
        except (KeyError, TypeError):
            return self._agendas[self.key(event)]  # raises

    def rewind(self) -> None:
        """Let every counter start anew."""
        for agenda in self._agendas.values():
            agenda.rewind()

    def attach(
        self, event: object, handler: Call, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> list[Attachment]:
        """Put a handler at the end of the handlers of one event, or of each event of a list.

        Everything is checked before anything is changed.

        Raises:
            ArgumentError: unknown event, a filter on an event without a counter, or a handler
                that cannot be called with what it will get.
        """
        events = event if isinstance(event, EventsList) else (event,)
        attachments = [self._prepare(each, handler, args, kwargs or {}) for each in events]
        for each in attachments:
            self._attachments[each.event].append(each)
            self._changed(each.event)
        return attachments

    def _prepare(self, event: object, handler: Call, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Attachment:
        if isinstance(event, CallableEventWithFilter) and type(event.event).auto_register:
            for member in type(event.event):
                self.register(member)
        key = self.key(event)
        event_filter = event.filter if isinstance(event, CallableEventWithFilter) else None
        counter = self.counters.get(key)
        if event_filter is not None and counter is None:
            raise ArgumentError(f"a filter needs an event with a counter, got {event!r}; name one with `event_to_attr`")
        call = make_call(handler, args, kwargs, EVENT_ARGS.get(key, 0))
        if call is None:
            raise ArgumentError(
                f"`handler` must be callable with what {key} hands it (the engine or nothing, "
                f"then args={tuple(args)!r}, kwargs={dict(kwargs)!r}), got {handler!r}"
            )
        self._count += 1
        attachment = Attachment(self._count, key, handler, call, event_filter, counter)
        attachment.wire(self._wraps)
        return attachment

    def remove(self, attachment: Attachment) -> None:
        """Take a handler off; nothing happens when it is off already."""
        if attachment.is_attached:
            attachment.is_attached = False
            self._attachments[attachment.event].remove(attachment)
            self._changed(attachment.event)

    def wrap(self, wrap: Wrap) -> None:
        """Call each handler through `wrap`, around what is there already."""
        self._rewire((*self._wraps, wrap))

    def unwrap(self, wrap: Wrap) -> None:
        """Take a wrap off again; nothing happens when it is off already."""
        self._rewire(tuple(each for each in self._wraps if each != wrap))

    def _rewire(self, wraps: tuple[Wrap, ...]) -> None:
        self._wraps = wraps
        for event, attachments in self._attachments.items():
            for each in attachments:
                each.wire(wraps)
            self._changed(event)

    def find(self, handler: object, event: object = None) -> list[Attachment]:
        """Return where `handler` sits, on one event or (None) on any."""
        keys = list(self._attachments) if event is None else [self.key(event)]
        return [each for key in keys for each in self._attachments[key] if each.handler == handler]

    def __iter__(self) -> Iterator[tuple[EventKey, tuple[Attachment, ...]]]:
        for event, attachments in self._attachments.items():
            yield event, tuple(attachments)

    def _changed(self, event: EventKey) -> None:
        self._agendas[event].arrange(self._attachments[event])
        self._on_change()
