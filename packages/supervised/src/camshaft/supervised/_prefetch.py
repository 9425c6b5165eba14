"""Prefetching: the next batch is fetched and copied to the device while the step before still runs there."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from typing import Any, Protocol

from camshaft.engine import (
    ArgumentError,
    DataSource,
    Engine,
    Events,
    LookAhead,
    Peekable,
    Position,
    length_of,
)
from camshaft.supervised._accumulation import AnyEngine, Step
from camshaft.supervised._backends import as_device, require_flag
from camshaft.supervised._batch import Device
from camshaft.supervised._device_copy import DeviceCopier


class Copier(Protocol):
    """Copies batches to a device, one at a time; `DeviceCopier` does, and says what each of these is."""

    def make_room(self) -> None:
        """Wait until another batch may be fetched and copied."""

    def start(self, batch: Any) -> Any:
        """Begin to copy a batch, and do not wait for it."""

    def finish(self, copy: Any) -> Any:
        """Return the copied batch."""


def make_prefetch(prefetch: bool, device: Device) -> Prefetch | None:
    """Return what prefetches for a trainer, None where that is not asked for.

    Args:
        prefetch: as given to the factory.
        device: where the batches go.

    Raises:
        ArgumentTypeError: `prefetch` is not a bool.
        ArgumentError: the device is not a CUDA device.
    """
    if not require_flag("prefetch", prefetch):
        return None
    placed = as_device(device)
    if placed is None or placed.type != "cuda":
        raise ArgumentError(f"`prefetch` needs a CUDA device, got device={device!r}; leave it out")
    return Prefetch(DeviceCopier(placed))


class Prefetch:
    """Fetches the next batch once a step is launched, before anybody waits for what it computes.

    A GPU computes while the process goes on. Between the launch of a step and the making of its output, the next
    batch is fetched, and its copying begins. All of that happens in the thread of the run.

    Args:
        copier: copies the batches.
    """

    def __init__(self, copier: Copier) -> None:
        self.copier = copier
        self.present: Callable[[], PrefetchedPass | None] = lambda: None  # the pass that has given the last batch

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that fetches the next batch and then does what `function` does."""

        def fetch_and_call(*args: Any) -> Any:
            present = self.present()
            if present is not None:
                present.fetch_early()
            return function(*args)

        return fetch_and_call

    def engine(self, engine_class: type[AnyEngine], step: Step) -> PrefetchingEngine:
        """Return an engine of a class, whose batches are fetched by this object.

        Args:
            engine_class: how it runs.
            step: the step, whose output is made by a function that went through `before`.
        """
        engine = prefetching(engine_class)(step)  # type: ignore[arg-type]  # classes can be hashed
        engine.prefetch = self
        return engine

    def __deepcopy__(self, memo: dict[int, Any]) -> Prefetch:
        """Return this object: an engine and its copy share their step, and so what the step calls."""
        return self


class PrefetchingEngine(Engine[Any, Any]):
    """An engine that gives its step batches that are on the device already.

    Attributes:
        prefetch: fetches the batches.
    """

    prefetch: Prefetch

    def make_source(self, data: Any) -> DataSource:
        """Return what opens `data` for a run, and fetches its batches early.

        Args:
            data: as for `Engine.make_source`.
        """
        source = super().make_source(data)
        return source if data is None else PrefetchedSource(source, data, self.prefetch, self)


@cache
def prefetching(engine_class: type[Any]) -> type[PrefetchingEngine]:
    """Return a class of engines that is `engine_class` and prefetches."""
    return type(f"Prefetching{engine_class.__name__}", (PrefetchingEngine, engine_class), {})


class PrefetchedSource:
    """A source whose batches are fetched early.

    Args:
        source: opens the data.
        data: the data.
        prefetch: copies the batches, and says when to fetch one early.
        engine: whose run it is.
    """

    def __init__(self, source: DataSource, data: Any, prefetch: Prefetch, engine: AnyEngine) -> None:
        self._source = source
        self._data = data
        self._prefetch = prefetch
        self._engine = weakref.ref(engine)
        # Not kept alive: a pass that the run has left lets go of its batches at once.
        self._opened: Callable[[], LookAhead | None] = lambda: None

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches still to come; see `camshaft.engine.DataSource`."""
        batches = self._source.open(position)
        if not isinstance(batches, Peekable) and may_fetch_early(self._data):
            batches = self._make_peekable(batches, position)
        return PrefetchedPass(batches, self._prefetch, self._is_followed)

    def state(self, position: Position) -> Any:
        """Return what has to be saved besides the position; a batch that was fetched early does not count."""
        opened = self._opened()
        if opened is not None and opened.is_ahead and position.pass_open:
            return opened.kept
        return self._source.state(position)

    def close(self) -> None:
        """Let go of iterators and workers."""
        self._source.close()

    def _make_peekable(self, batches: Iterator[Any], position: Position) -> LookAhead:
        between = position._replace(pass_open=True, data_state=None, stage=Events.GET_BATCH_STARTED.name)
        peekable = LookAhead(batches, lambda: deepcopy(self._source.state(between)))
        self._opened = weakref.ref(peekable)
        return peekable

    def _is_followed(self) -> bool:
        engine = self._engine()
        if engine is None or engine.should_terminate or engine.should_terminate_single_epoch:
            return False
        state = engine.state
        return is_followed(engine.position, state.epoch_length, state.max_iters, length_of(self._data))


class PrefetchedPass(Iterator[Any]):
    """The batches of a pass, on the device.

    Args:
        batches: the batches as the data gives them.
        prefetch: copies them.
        is_followed: returns whether the batch after the present one may be fetched early.
    """

    def __init__(self, batches: Iterator[Any], prefetch: Prefetch, is_followed: Callable[[], bool]) -> None:
        self._batches = batches
        self._prefetch = prefetch
        self._is_followed = is_followed
        self._copy: Any = None  # of a batch that was fetched early

    def __next__(self) -> Any:
        copier, copy = self._prefetch.copier, self._copy
        self._copy = None
        if copy is None:
            copier.make_room()
        batch = next(self._batches)  # the one that was copied, if one was: only now it counts
        self._prefetch.present = weakref.ref(self)
        return copier.finish(copier.start(batch) if copy is None else copy)

    def fetch_early(self) -> None:
        """Fetch the next batch and begin to copy it; what that raises is raised when the batch is asked for."""
        if self._copy is not None or not isinstance(self._batches, Peekable) or not self._is_followed():
            return
        copier = self._prefetch.copier
        copier.make_room()
        for batch in self._batches.peek():
            try:
                self._copy = copier.start(batch)
            except Exception:  # noqa: BLE001  # copied again when it is asked for: the error belongs to that iteration
                self._copy = None


def may_fetch_early(data: Any) -> bool:
    """Return whether the batches of some data may be fetched early, as far as the data knows.

    Not from an iterator, nor from data that goes on in the next pass where it was left in this one: if the run does
    not take the batch after all, it is lost.

    Args:
        data: what a run iterates over.
    """
    return not hasattr(type(data), "__next__") and not getattr(data, "keeps_place", False)


def is_followed(position: Position, epoch_length: int | None, max_iters: int | None, pass_length: int | None) -> bool:
    """Return whether the iteration that is on is followed by another one of the same epoch and the same pass.

    Args:
        position: where the run stands: in a step, or behind it.
        epoch_length: iterations in an epoch; None while unknown.
        max_iters: iterations in all; None without a limit.
        pass_length: batches in a pass; None while unknown.

    Examples:
        >>> position = Position(iteration=6, epoch_iteration=2, batch=2, stage="ITERATION_COMPLETED")
        >>> is_followed(position, 4, None, 4), is_followed(position, 3, None, 4), is_followed(position, 4, 7, 4)
        (True, False, False)
    """
    on = position.holds_batch
    counts = position.epoch_iteration + on, position.iteration + on, position.batch + on
    limits = epoch_length, max_iters, pass_length
    return all(limit is None or count < limit for count, limit in zip(counts, limits, strict=True))
