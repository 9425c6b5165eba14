"""Show how far a run is, with tqdm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from camshaft.engine import ArgumentError, CallableEventWithFilter, Events, EventsList
from ignite.engine import RemovableEventHandle
from ignite.handlers._annotations import AnyEngine
from ignite.handlers.base_logger import BaseLogger, BaseOutputHandler

__all__ = ["ProgressBar"]

DEFAULT_FORMAT = "{desc}[{n_fmt}/{total_fmt}] {percentage:3.0f}%|{bar}{postfix} [{elapsed}<{remaining}]"
# The events that a bar can count, in the order in which a run fires them.
ORDER = (
    Events.STARTED, Events.EPOCH_STARTED, Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED,
    Events.ITERATION_STARTED, Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED, Events.COMPLETED,
)  # fmt: skip
EPOCH_EVENTS = (Events.EPOCH_STARTED, Events.EPOCH_COMPLETED)
RUN_EVENTS = (Events.STARTED, Events.COMPLETED)


class ProgressBar(BaseLogger):
    """A bar of tqdm that follows an engine.

    Args:
        persist: whether a finished bar stays.
        bar_format: tqdm's template of the bar; None for its own.
        tqdm_kwargs: of tqdm; `desc` replaces "Epoch" and "Iteration", `file` says where to write.

    Attributes:
        pbar: the bar of tqdm while there is one, else None.

    Raises:
        ModuleNotFoundError: tqdm is not installed.

    Examples:
        >>> import io
        >>> from ignite.engine import Engine
        >>> trainer, shown = Engine(lambda engine, batch: 1 / batch), io.StringIO()
        >>> bar = ProgressBar(persist=True, bar_format="{desc}{n}/{total}{postfix}", file=shown)
        >>> bar.attach(trainer, output_transform=lambda loss: {"loss": loss})
        >>> state = trainer.run([1, 2, 4])
        >>> "Iteration: 3/3, loss=0.25" in shown.getvalue()
        True
    """

    def __init__(self, persist: bool = False, bar_format: str | None = DEFAULT_FORMAT, **tqdm_kwargs: Any) -> None:
        try:
            from tqdm.auto import tqdm
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("ProgressBar needs tqdm; pip install tqdm", name=error.name) from error
        self.pbar_cls = tqdm
        self.pbar: Any = None
        self.persist = persist
        self.bar_format = bar_format
        self.tqdm_kwargs = tqdm_kwargs

    def log_message(self, message: str) -> None:
        """Print a line without breaking the bars.

        Args:
            message: the line.
        """
        self.pbar_cls.write(message, file=self.tqdm_kwargs.get("file"))

    def attach(  # type: ignore[override]  # the documented arguments
        self,
        engine: AnyEngine,
        metric_names: str | list[str] | None = None,
        output_transform: Callable[..., Any] | None = None,
        event_name: CallableEventWithFilter = Events.ITERATION_COMPLETED,
        closing_event_name: CallableEventWithFilter = Events.EPOCH_COMPLETED,
        state_attributes: list[str] | None = None,
    ) -> None:
        """Follow an engine.

        Args:
            engine: the engine.
            metric_names: keys of `engine.state.metrics` to show, or "all".
            output_transform: makes what is shown from the engine's output.
            event_name: when the bar advances.
            closing_event_name: when the bar is finished.
            state_attributes: names of attributes of `engine.state` to show.

        Raises:
            ValueError: an event is not one of the engine's own, or the bar would be finished before it advances.
            TypeError: an argument is of the wrong kind.
        """
        event, closing = _require_order(event_name, closing_event_name)
        handler = _OutputHandler(
            self.tqdm_kwargs.get("desc"),
            metric_names=metric_names,
            output_transform=output_transform,
            closing_event_name=closing,
            state_attributes=state_attributes,
        )
        super().attach(engine, handler, event_name)
        engine.add_event_handler(closing_event_name, self._finish, event)
        if event not in RUN_EVENTS:
            # A run that ends otherwise leaves no open bar behind.
            engine.add_event_handler(Events.COMPLETED | Events.INTERRUPT, self._close)

    def attach_opt_params_handler(
        self, engine: AnyEngine, event_name: Any, *args: Any, **kwargs: Any
    ) -> RemovableEventHandle:
        """Do nothing: a bar shows no parameters of optimizers.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("ProgressBar shows no parameters of optimizers; use `state_attributes`")

    def _create_output_handler(self, *args: Any, **kwargs: Any) -> _OutputHandler:
        return _OutputHandler(*args, **kwargs)

    def _create_opt_params_handler(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        raise NotImplementedError("ProgressBar shows no parameters of optimizers")

    def open(self, total: int | None) -> None:
        """Begin a bar; it is first shown when an event has been counted.

        Args:
            total: events until it is full; None when that is not known.
        """
        self.pbar = self.pbar_cls(
            total=total, leave=self.persist, bar_format=self.bar_format, initial=1, **self.tqdm_kwargs
        )

    def _finish(self, engine: AnyEngine, event: CallableEventWithFilter) -> None:
        if self.pbar is not None:  # what a filter left out has been done too
            self.pbar.update(_done(event, engine) - self.pbar.n)
        self._close()

    def _close(self) -> None:
        if self.pbar is not None:
            # A run that failed never closed its bar; this must not be left to the collector.
            self.pbar.close()
            self.pbar = None


class _OutputHandler(BaseOutputHandler):
    """Advances a bar and shows values beside it."""

    def __init__(
        self,
        description: str | None,
        metric_names: str | list[str] | None = None,
        output_transform: Callable[..., Any] | None = None,
        closing_event_name: CallableEventWithFilter = Events.EPOCH_COMPLETED,
        state_attributes: list[str] | None = None,
    ) -> None:
        if metric_names is None and output_transform is None:
            metric_names = []  # a bar without values is one too
        super().__init__(
            description or "", metric_names, output_transform, global_step_transform=None,
            state_attributes=state_attributes,
        )  # fmt: skip
        self.description = description
        self.closing_event_name = closing_event_name

    def __call__(self, engine: AnyEngine, logger: ProgressBar, event_name: Any) -> None:
        """Show the event."""
        if logger.pbar is None:
            logger.open(_count_in_run(event_name, engine))
        logger.pbar.set_description(self._describe(engine))
        values = self._setup_output_metrics_state_attrs(engine, log_text=True)
        if values:
            logger.pbar.set_postfix({"_".join(path): value for (_, *path), value in values.items()})
        logger.pbar.update(_done(event_name, engine) - logger.pbar.n)

    def _describe(self, engine: AnyEngine) -> str:
        description = self.description or ("Iteration" if engine.state.max_epochs == 1 else "Epoch")
        closings = _count_in_run(self.closing_event_name, engine)
        if closings is not None and closings > 1:
            closing = engine.state.get_event_attrib_value(self.closing_event_name)
            return f"{description} [{closing}/{closings}]"
        return description


def _require_order(event: Any, closing: Any) -> tuple[CallableEventWithFilter, CallableEventWithFilter]:
    places = []
    for name, each in (("event_name", event), ("closing_event_name", closing)):
        if isinstance(each, EventsList) or each not in ORDER:
            raise ArgumentError(f"`{name}` must be one of the engine's own events, got {each!r}")
        places.append(ORDER.index(each))
    if places[0] >= places[1]:
        raise ArgumentError(f"`event_name` must come before `closing_event_name`, got {event!r} and {closing!r}")
    return ORDER[places[0]], ORDER[places[1]]


def _done(event: CallableEventWithFilter, engine: AnyEngine) -> int:
    """Return how far a bar that counts an event is."""
    count, total = engine.state.get_event_attrib_value(event), _count_in_run(event, engine)
    return count if total is None else (count - 1) % total + 1


def _count_in_run(event: CallableEventWithFilter, engine: AnyEngine) -> int | None:
    """Return how often an event comes until a bar is full, None when that is not known."""
    if event in EPOCH_EVENTS:
        return engine.state.max_epochs
    return 1 if event in RUN_EVENTS else engine.state.epoch_length
