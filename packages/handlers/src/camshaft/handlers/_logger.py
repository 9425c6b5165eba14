"""What all loggers share: chosen values of an engine are written at chosen events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from camshaft.engine import CallableEventWithFilter, Events, EventsList
from camshaft.handlers._global_step import global_step_from_engine
from camshaft.handlers._rank import is_writer
from camshaft.handlers._value_reader import AnyEngine, MetricNames, ValueReader

StepOf = Callable[[AnyEngine, CallableEventWithFilter], int]


class Logger(ABC):
    """Writes chosen values of engines at chosen events. A derived class decides where to.

    To make a logger of your own, derive a class with a method `write`, and with `close` if it holds something open.
    A `with` block closes the logger at its end.

    Where several processes train together, attach it in all of them. Only the one of rank 0 writes.

    Examples:
        >>> from camshaft.engine import Engine, Events
        >>> class Printer(Logger):
        ...     def write(self, values, step):
        ...         print(step, values)
        >>> engine = Engine(lambda engine, batch: 1 / batch)
        >>> Printer().attach(
        ...     engine, Events.ITERATION_COMPLETED(every=2), tag="train", output_transform=lambda loss: {"loss": loss}
        ... )
        >>> state = engine.run([1, 2, 4, 8])
        2 {'train/loss': 0.5}
        4 {'train/loss': 0.125}
    """

    @abstractmethod
    def write(self, values: Mapping[str, float], step: int) -> None:
        """Write values.

        Args:
            values: names to numbers; at least one.
            step: what they belong to.
        """

    def close(self) -> None:
        """Close what the logger holds open; by default, nothing."""
        return

    def attach(
        self,
        engine: AnyEngine,
        event: CallableEventWithFilter | EventsList = Events.EPOCH_COMPLETED,
        *,
        tag: str | None = None,
        metric_names: MetricNames | None = None,
        output_transform: Callable[[Any], Any] | None = None,
        values: Callable[[AnyEngine], Mapping[str, Any]] | None = None,
        global_step_transform: StepOf | None = None,
    ) -> None:
        """Write values at an event of an engine. A logger can be attached to several engines and events.

        Values are read at these events only, so no other iteration waits for the device. If no values are chosen, all
        metrics are written. If there is no value yet, nothing is written.

        Args:
            engine: the engine whose values are written.
            event: when to write.
            tag: put before each name, followed by a slash.
            metric_names: keys of `engine.state.metrics`. "all" means every single number in it.
            output_transform: `f(output)` makes from the engine's output what is written: a mapping of names to numbers
                or to tensors with one element, or just one of these.
            values: `values(engine)` returns a mapping of further names to numbers, for example a learning rate.
            global_step_transform: `f(engine, event)` returns the step; `global_step_from_engine` makes one that reads
                another engine. None means the counter of the event.
        """
        if metric_names is None and output_transform is None and values is None:
            metric_names = "all"
        reader = ValueReader(metric_names, output_transform, values)
        prefix = "" if tag is None else f"{tag}/"
        for each in event if isinstance(event, EventsList) else (event,):
            engine.add_event_handler(each, partial(self._record, each, reader, prefix, global_step_transform))

    def _record(
        self,
        event: CallableEventWithFilter,
        reader: ValueReader,
        prefix: str,
        global_step_transform: StepOf | None,
        engine: AnyEngine,
        *_: Any,
    ) -> None:
        # Read in every process: what reads them may need all processes.
        values = {f"{prefix}{name}": value for name, value in reader.read(engine).items()}
        if values and is_writer():
            # Made each time: kept in a handler, it would make a reference cycle through the engine.
            step_of = global_step_transform or global_step_from_engine(engine)
            self.write(values, step_of(engine, event))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
