"""What a run shares with its handlers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from camshaft.engine._errors import ArgumentError, CounterError
from camshaft.engine._events import COUNTERS, CallableEventWithFilter
from camshaft.engine._value import as_integer

Batch = TypeVar("Batch")
Output = TypeVar("Output")

# What one run sets anew; everything else on a state is the user's and stays.
RUN_FIELDS = (
    "iteration", "epoch", "seed", "dataloader", "epoch_length", "max_epochs", "max_iters", "batch", "output", "resumed",
)  # fmt: skip

NO_COUNTERS = {*RUN_FIELDS, "metrics", "times", "event_counters", "get_event_attrib_value"} - {"iteration", "epoch"}


class State(Generic[Batch, Output]):
    """What a run shares with its handlers; any attribute may be added.

    Attributes:
        iteration: iterations started so far, 1 in the first one; completed ones after a run.
        epoch: number of the current epoch, 1-based; 0 before the first.
        seed: base seed of a deterministic run, None without one.
        dataloader: the data of the run, as the user gave it.
        epoch_length: iterations in an epoch, None while unknown.
        max_epochs: epochs to run, None when `max_iters` limits the run, or before the first run.
        max_iters: iterations to run, None when `max_epochs` limits the run.
        batch: the batch in work; None while the next one is fetched, and after the run.
        output: what the process function returned last.
        metrics: results by name; kept from run to run.
        times: seconds by the names "EPOCH_COMPLETED" (the last epoch) and "COMPLETED" (the run), None before.
        resumed: whether this run continues an earlier one.

    Examples:
        >>> state = State(alpha=0.5)
        >>> state.alpha, state.iteration
        (0.5, 0)
    """

    iteration: int
    epoch: int
    seed: int | None
    dataloader: Any
    epoch_length: int | None
    max_epochs: int | None
    max_iters: int | None
    batch: Batch | None
    output: Output | None
    metrics: dict[str, Any]
    times: dict[str, float | None]
    resumed: bool

    def __init__(self, **kwargs: Any) -> None:
        self.iteration = 0
        self.epoch = 0
        self.seed = None
        self.dataloader = None
        self.epoch_length = None
        self.max_epochs = None
        self.max_iters = None
        self.batch = None
        self.output = None
        self.metrics = {}
        self.times = {"EPOCH_COMPLETED": None, "COMPLETED": None}
        self.resumed = False
        self.event_counters: Mapping[Any, str] = COUNTERS
        for name, value in kwargs.items():
            setattr(self, name, value)

    if TYPE_CHECKING:
        # Any user attribute may be there. Only said to type checkers: at run time it would slow every access.
        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def get_event_attrib_value(self, event: str | CallableEventWithFilter) -> int:
        """Return the counter of an event.

        Raises:
            CounterError: no attribute counts this event.

        Examples:
            >>> from camshaft.engine import Events
            >>> State(epoch=3).get_event_attrib_value(Events.EPOCH_STARTED)
            3
        """
        attribute = self.event_counters.get(event)
        if attribute is None:
            raise CounterError(f"`event` must have a counter, got {event!r}; name one with `event_to_attr`")
        return int(getattr(self, attribute))

    def __repr__(self) -> str:
        lines = []
        for name, value in vars(self).items():
            is_small = name in ("metrics", "times") or isinstance(value, bool | int | float | str)
            shown = value if value is None or is_small else type(value)
            if name != "event_counters":
                lines.append(f"    {name}: {shown}")
        return "\n".join(["State:", *lines])


def checked_limits(state: State[Any, Any]) -> tuple[int | None, int | None]:
    """Return `max_epochs` and `max_iters` of a state, where users may have put anything.

    Raises:
        ArgumentError: one is neither an integer nor None.
    """
    return _count("state.max_epochs", state.max_epochs, least=0), _count("state.max_iters", state.max_iters, least=0)


def checked_epoch_length(state: State[Any, Any]) -> int | None:
    """Return `epoch_length` of a state, where users may have put anything.

    Raises:
        ArgumentError: it is neither an integer of at least 1 nor None.
    """
    return _count("state.epoch_length", state.epoch_length, least=1)


def _count(name: str, value: object, least: int) -> int | None:
    return None if value is None else as_integer(name, value, least)


def equip(state: State[Any, Any], counters: Mapping[Any, str], running: State[Any, Any] | None) -> None:
    """Give a new state what its engine needs it to have.

    Args:
        state: takes the place of another one.
        counters: event to the name of the attribute that counts it.
        running: the state that it replaces inside a run, whose fields go along; None outside of runs.
    """
    if running is not None:
        for field in RUN_FIELDS:
            setattr(state, field, getattr(running, field))
    state.event_counters = counters
    for attribute in counters.values():
        if not hasattr(state, attribute):
            setattr(state, attribute, 0)


def reset(state: State[Any, Any]) -> None:
    """Let all counters of a state start at 0, and forget what the last run has left in it."""
    for attribute in {*state.event_counters.values()}:
        setattr(state, attribute, 0)
    state.batch = state.output = None
    state.times.update(EPOCH_COMPLETED=None, COMPLETED=None)


def require_counter(name: object) -> None:
    """Refuse what cannot be the name of an attribute that counts an event.

    Raises:
        ArgumentError: it is no name, or an attribute that holds something else than a count.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ArgumentError(f"`event_to_attr` must map events to names of attributes, got {name!r}")
    if name in NO_COUNTERS:
        raise ArgumentError(f"`event_to_attr` must leave the state's own attribute {name!r} alone; choose another name")
