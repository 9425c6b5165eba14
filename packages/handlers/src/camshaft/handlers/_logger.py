"""Write chosen values of an engine somewhere: what all loggers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from camshaft.engine import CallableEventWithFilter, Events, EventsList
from camshaft.handlers._global_step import global_step_from_engine
from camshaft.handlers._reading import AnyEngine, MetricNames, Reading

StepOf = Callable[[AnyEngine, CallableEventWithFilter], int]


class Logger(ABC):
    """Writes chosen values of engines at chosen events; where to is for the derived class to say.

    A logger of your own is a class with a method `write`, and `close` if it holds something open.
    As a context manager a logger is closed at the end of the block.

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
        """Write values that belong to a step; there is at least one of them."""

    def close(self) -> None:
        """Finish what was begun; a logger that holds nothing open leaves this as it is."""
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
        """Write at an event of `engine`; a logger can be attached to several engines and events.

        Values are read at these events alone: other iterations wait for no device. Without any
        choice of values, all metrics are written. Where there is no value yet nothing is written.

        Args:
            engine: whose values.
            event: when to write.
            tag: put in front of each name, with a slash between.
            metric_names: keys of `engine.state.metrics`; "all": every single number in it.
            output_transform: makes what is written from the engine's output: a mapping of names to
                numbers or to tensors with one element, or just one of these.
            values: `values(engine)` returns further names and numbers: a learning rate, say.
            global_step_transform: `f(engine, event)` returns the step, as `global_step_from_engine`
                makes it from another engine. None means the counter of the event.
        """
        if metric_names is None and output_transform is None and values is None:
            metric_names = "all"
        reading = Reading(metric_names, output_transform, values)
        prefix = "" if tag is None else f"{tag}/"
        for each in event if isinstance(event, EventsList) else (event,):
            engine.add_event_handler(each, partial(self._record, each, reading, prefix, global_step_transform))

    def _record(
        self,
        event: CallableEventWithFilter,
        reading: Reading,
        prefix: str,
        global_step_transform: StepOf | None,
        engine: AnyEngine,
        *_: Any,
    ) -> None:
        values = {f"{prefix}{name}": value for name, value in reading(engine).items()}
        if values:
            # Made anew each time: kept in a handler it would tie the engine to itself.
            step_of = global_step_transform or global_step_from_engine(engine)
            self.write(values, step_of(engine, event))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
