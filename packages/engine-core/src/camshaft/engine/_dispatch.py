"""The handlers of one event, compiled into calls that the loop makes without looking at them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from heapq import heapify, heappop, heapreplace
from sys import maxsize
from typing import TYPE_CHECKING, Any

from camshaft.engine._errors import NotCallableError
from camshaft.engine._event_schedule import Once, Periodic, Schedule
from camshaft.engine._events import EVENT_ARGS, EventEnum
from camshaft.engine._signature import Call, make_call

if TYPE_CHECKING:
    from camshaft.engine._engine import Engine

EventKey = EventEnum | str
Wrap = Callable[[EventKey, Call, Call], Call]
NEVER = maxsize


class Listener:
    """One handler on one event: how it is called, when it is due, whether it is still attached.

    Raises:
        NotCallableError: the handler cannot be called with what it would get.

    Attributes:
        number: the place in the order of calls; those attached later have higher ones.
        event: the event without its filter.
        handler: what the user attached.
        filter: decides whether the handler is due; None: always.
        call: calls the handler as `call(engine, *event_args)`.
        is_attached: False once it is removed.
    """

    __slots__ = (
        "__weakref__", "_args", "_counter", "_kwargs", "_plain_call", "_wraps", "call", "event", "filter", "handler",
        "is_attached", "number",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        event: EventKey,
        handler: Call,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        event_filter: Call | None,
        counter: str,
    ) -> None:
        call = make_call(handler, args, kwargs, EVENT_ARGS.get(event))
        if call is None:
            raise NotCallableError(
                f"`handler` must be callable with what {event} hands it (the engine or nothing, "
                f"then args={tuple(args)!r}, kwargs={dict(kwargs)!r}), got {handler!r}"
            )
        self.number = number
        self.event = event
        self.handler = handler
        self.filter = event_filter
        self.is_attached = True
        self._args, self._kwargs = args, kwargs
        self._plain_call = call
        self._counter = counter
        self.wrap_call(())

    def __deepcopy__(self, memo: dict[int, Any]) -> Listener:
        """Return a copy that calls the copy of the handler: a method of a copied object, say."""
        copied = Listener(
            self.number,
            self.event,
            deepcopy(self.handler, memo),
            deepcopy(self._args, memo),
            deepcopy(self._kwargs, memo),
            deepcopy(self.filter, memo),
            self._counter,
        )
        copied.is_attached = self.is_attached
        copied.wrap_call(deepcopy(self._wraps, memo))
        return copied

    @property
    def schedule(self) -> Schedule | None:
        """When the handler is due; None at every value, or whenever a filter of the user's own says so."""
        return self.filter if isinstance(self.filter, Periodic | Once) else None

    def wrap_call(self, wraps: Sequence[Wrap]) -> None:
        """Make `call` anew, each of `wraps` around the one before it."""
        self._wraps = wraps
        call = self._plain_call
        for wrap in wraps:
            call = wrap(self.event, self.handler, call)
        if self.filter is not None and self.schedule is None:
            call = self._filtered(self.filter, call)
        self.call = call

    def _filtered(self, event_filter: Call, call: Call) -> Call:
        # A filter of the user's own is asked when it is the handler's turn, not before. Events with
        # arguments of their own have no counter, so none are passed on.
        counter = self._counter

        def call_if_due(engine: Engine[Any, Any]) -> None:
            if event_filter(engine, getattr(engine.state, counter)):
                call(engine)

        return call_if_due


class DispatchTable:
    """What to call at each counter value of one event.

    At the value `v` the loop calls `always if v < next_due else at(v)`, unless that is None.

    Attributes:
        event: the event.
        listeners: the event's handlers by their number.
        always: calls the handlers that run at every value; None when there are none.
        is_scheduled: whether there are others, which run at some values only.
        next_due: the smallest value at which scheduled handlers join in. It only moves forward:
            `rewind` before counting anew.
    """

    __slots__ = (
        "_alone", "_always", "_built_after", "_change", "_coming", "_is_rewound", "_scheduled", "_schedules", "always",
        "event", "is_scheduled", "listeners", "next_due",
    )  # fmt: skip

    def __init__(self, event: EventKey | None = None) -> None:
        self.event = event
        self.listeners: dict[int, Listener] = {}
        self._change = object()  # stands for the last one
        self.build()

    def __deepcopy__(self, memo: dict[int, Any]) -> DispatchTable:
        """Return a table of copied handlers, which is built when it is looked at."""
        copied = DispatchTable(self.event)
        copied.listeners = deepcopy(self.listeners, memo)
        copied.note_change()
        return copied

    def build(self) -> None:
        """Sort the handlers into those that always run and those that are scheduled."""
        change = self._change  # the last one before the handlers are looked at: there may be others meanwhile
        always: list[Listener] = []
        by_schedule: dict[Schedule, list[Listener]] = {}
        for listener in self.in_order():
            schedule = listener.schedule
            (always if schedule is None else by_schedule.setdefault(schedule, [])).append(listener)
        self._always = always
        self._schedules = list(by_schedule)
        self._scheduled = list(by_schedule.values())
        self._alone: list[Call | None] = [None] * len(by_schedule)  # built when it is due for the first time
        self.always = _call_all(always, self.event)
        self.is_scheduled = bool(by_schedule)
        self.rewind()
        self._built_after = change

    def note_change(self) -> None:
        """Have the table built anew before it is used: the handlers have changed."""
        self._change = object()

    @property
    def is_outdated(self) -> bool:
        """Whether the handlers have changed since the table was built."""
        return self._built_after is not self._change

    def in_order(self) -> list[Listener]:
        """Return the handlers as they are now, in the order of attaching."""
        return sorted(list(self.listeners.values()), key=_by_number)  # noqa: C414  # a list is made in one step

    def rewind(self) -> None:
        """Forget how far the counter has come."""
        self._coming: list[tuple[int, int]] = []  # a heap of: when a schedule is due, its place among them
        self._is_rewound = self.is_scheduled
        self.next_due = -1 if self.is_scheduled else NEVER

    def at(self, value: int) -> Call | None:
        """Return what calls the handlers due at `value`, in the order of attaching; None when there are none.

        Args:
            value: the counter; not smaller than at the call before, unless `rewind` came between.
        """
        if self._is_rewound:
            self._look_ahead(value)
        coming, due = self._coming, []
        while coming and coming[0][0] <= value:
            planned, place = coming[0]
            schedule = self._schedules[place]
            if planned == value or schedule.next_due(value) == value:
                due.append(place)
            following = schedule.next_due(value + 1)
            if following is None:
                heappop(coming)
            else:
                heapreplace(coming, (following, place))
        self.next_due = coming[0][0] if coming else NEVER
        if not due:
            return self.always
        return (self._alone[due[0]] if len(due) == 1 else None) or self._call_at(due)

    def _look_ahead(self, value: int) -> None:
        coming = ((schedule.next_due(value), place) for place, schedule in enumerate(self._schedules))
        self._coming = [each for each in coming if each[0] is not None]  # type: ignore[misc]  # None is left out
        heapify(self._coming)
        self._is_rewound = False

    def _call_at(self, due: list[int]) -> Call | None:
        """Return what calls the handlers of the schedules at these places, and those that always run."""
        scheduled = [listener for place in due for listener in self._scheduled[place]]
        call = _call_all(sorted((*self._always, *scheduled), key=_by_number), self.event)
        if len(due) == 1:  # what coincides is put together anew: there are too many ways to coincide
            self._alone[due[0]] = call
        return call


def _by_number(listener: Listener) -> int:
    return listener.number


def _call_all(listeners: Iterable[Listener], event: EventKey | None) -> Call | None:
    """Return one call for all of `listeners`; one that is removed meanwhile is left out."""
    listeners = tuple(listeners)
    if len(listeners) < 2:
        return listeners[0].call if listeners else None

    def call_each(engine: Engine[Any, Any]) -> None:
        for listener in listeners:
            if listener.is_attached:
                listener.call(engine)

    def call_each_with(engine: Engine[Any, Any], *event_args: object) -> None:
        for listener in listeners:
            if listener.is_attached:
                listener.call(engine, *event_args)

    # Passing on arguments that are not there would take as long as the call.
    return call_each_with if event in EVENT_ARGS else call_each


NO_HANDLERS = DispatchTable()
