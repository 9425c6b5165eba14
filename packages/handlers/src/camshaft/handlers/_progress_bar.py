"""Show the progress of a run: a bar in a terminal or notebook, one line per epoch in a file."""

from __future__ import annotations

import inspect
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal, TextIO

from camshaft.engine import ArgumentError, ArgumentTypeError, Events
from camshaft.handlers._extra import import_extra
from camshaft.handlers._rank import is_writer
from camshaft.handlers._running_average import ExponentialAverages
from camshaft.handlers._saved_state import require_keys
from camshaft.handlers._value_reader import AnyEngine, MetricNames, ValueReader

# What tqdm calls otherwise, or what the bar itself decides.
NOT_OPTIONS = {
    "desc": "`description`",
    "leave": "`persist`",
    "total": "decided by the engine",
    "initial": "decided by the engine",
    "iterable": "decided by the engine",
    "miniters": "`mininterval`",
    "postfix": "`output_transform` or `metric_names` of attach()",
}


class ProgressBar:
    """A tqdm bar that follows an engine.

    It counts the iterations of the current epoch or of the whole run; in a continued run it starts where that run
    stands. Outputs and metrics are read only when the bar is redrawn, so most iterations do not wait for the device.
    If the output is neither a terminal nor a notebook, each bar writes a single line when it ends.

    Args:
        description: the text before the bar; None shows the number of the epoch and how many there are.
        scope: "epoch" shows one bar per epoch, "run" one bar for the whole run.
        persist: whether a finished bar stays; None keeps it unless it is nested in another one.
        running_average: show the outputs as running averages; this is the share of the average that stays when a new
            value comes in, at least 0 and below 1. None shows the last output.
        file: where to write; None means `sys.stderr`.
        **options: options of tqdm: `mininterval` (seconds between redraws, 0.1 by default), `ncols`, `bar_format`,
            `colour`, `disable`, ...

    Raises:
        ExtraMissingError: tqdm is not installed; the extra is camshaft-handlers[progress].
        ArgumentError: `scope` or `running_average` is out of its range.
        ArgumentTypeError: `description` is not a string, or tqdm has no such option.

    Examples:
        >>> from camshaft.engine import Engine
        >>> trainer = Engine(lambda engine, batch: 1 / batch)
        >>> bar = ProgressBar(running_average=0.9, file=sys.stdout, bar_format="{desc}: {n}/{total}{postfix}")
        >>> bar.attach(trainer, output_transform=lambda loss: {"loss": loss})
        >>> state = trainer.run([1, 2, 4], max_epochs=2)
        Epoch [1/2]: 3/3, loss=0.88
        Epoch [2/2]: 3/3, loss=0.793
    """

    def __init__(
        self,
        description: str | None = None,
        *,
        scope: Literal["epoch", "run"] = "epoch",
        persist: bool | None = None,
        running_average: float | None = None,
        file: TextIO | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(description, str | None):
            raise ArgumentTypeError(
                f"`description` must be a string or None, got {description!r}; a finished bar stays with `persist=True`"
            )
        if scope not in ("epoch", "run"):
            raise ArgumentError(f"`scope` must be 'epoch' or 'run', got {scope!r}")
        if running_average is not None and not 0 <= running_average < 1:
            raise ArgumentError(f"`running_average` must be at least 0 and below 1, got {running_average!r}")
        self._bar_class = _import_bar_class()
        _require_options(options)
        self._description = description
        self._scope = scope
        self._file = file
        self._interval_s = options.pop("mininterval", 0.1)
        self._options = {"leave": persist, **options}
        self._averages = None if running_average is None else ExponentialAverages(running_average)
        self._reader = ValueReader()
        self._is_notebook = any("notebook" in base.__module__ for base in self._bar_class.__mro__)
        self._live = False
        self._bar: Any = None
        self._before = 0  # iterations of the run before those that the bar counts
        self._due = 0.0

    def attach(
        self,
        engine: AnyEngine,
        metric_names: MetricNames | None = None,
        output_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        """Follow an engine; each bar follows one.

        Args:
            engine: the engine to follow.
            metric_names: keys of `engine.state.metrics` to show as soon as they are there; "all" shows every single
                number in it.
            output_transform: `f(output)` makes from the engine's output what is shown: a mapping of names to numbers
                or to tensors with one element, or just one of these. None shows no output.
        """
        self._reader = ValueReader(metric_names, output_transform)
        engine.add_event_handler(Events.STARTED, self._start)
        if self._scope == "epoch":
            engine.add_event_handler(Events.EPOCH_STARTED, self._open_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        if self._scope == "epoch":
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._finish)
        engine.add_event_handler(Events.COMPLETED, self._finish)
        engine.add_event_handler(Events.TERMINATE | Events.INTERRUPT, self._close)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._abandon)

    def write(self, message: str) -> None:
        """Print a line without breaking the bars.

        Args:
            message: the line.
        """
        self._bar_class.write(message, file=self._stream())

    def state_dict(self) -> dict[str, Any]:
        """Return the running averages."""
        return {"averages": self._averages.values() if self._averages else {}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue with saved running averages.

        Args:
            state_dict: what `state_dict` returned.

        Raises:
            StateDictError: it is not such a state; nothing is changed then.
        """
        (averages,) = require_keys(state_dict, "averages")
        if self._averages is not None:
            self._averages.load(averages)

    # ---- events ------------------------------------------------------------------------------------

    def _start(self, engine: AnyEngine) -> None:
        if self._averages is not None and not engine.state.resumed:
            self._averages.reset()
        position = engine.position
        inside_epoch = position.epoch_iteration > 0 and position.next_event not in (None, Events.EPOCH_STARTED.name)
        if self._scope == "run" or inside_epoch:
            self._open(engine)

    def _open_epoch(self, engine: AnyEngine) -> None:
        self._close(engine)
        self._open(engine)

    def _advance(self, engine: AnyEngine) -> None:
        if self._averages is not None:
            self._averages.update(self._reader.read_output(engine))
        now = time.monotonic()
        if now >= self._due or self._bar is None:
            self._due = now + self._interval_s
            self._show(engine)

    def _finish(self, engine: AnyEngine) -> None:
        if self._bar is not None and self._bar.total is None:
            self._bar.total = self._done(engine)  # its length is known only now that it has ended
        self._close(engine)

    def _close(self, engine: AnyEngine) -> None:
        if self._bar is not None:
            self._show(engine)
            self._abandon()

    def _abandon(self) -> None:
        # After an error the values are not read again: reading them may be what failed.
        if self._bar is None:
            return
        bar, self._bar = self._bar, None
        if bar.leave is None:  # tqdm's own rule, which its notebook bar lacks
            bar.leave = bar.pos == 0
        if bar.leave and not self._live and not bar.disable:
            bar.fp.write(f"{bar}\n")
            bar.fp.flush()
        bar.close()

    # ---- the bar -----------------------------------------------------------------------------------

    def _open(self, engine: AnyEngine) -> None:
        stream = self._stream()
        self._live = self._is_notebook or stream.isatty()
        position = engine.position
        done = position.epoch_iteration if self._scope == "epoch" else position.iteration
        self._before = position.iteration - done
        self._bar = self._bar_class(
            desc=self._describe(engine), total=self._total(engine), initial=done, file=stream,
            mininterval=0, miniters=1, **(self._drawing(stream) | self._options),
        )  # fmt: skip
        self._due = 0.0

    def _show(self, engine: AnyEngine) -> None:
        if self._bar is None:  # the run was interrupted, which closed the bar, and is continued
            self._open(engine)
        self._bar.set_postfix(self._shown(engine), refresh=False)
        self._bar.update(self._done(engine) - self._bar.n)

    def _shown(self, engine: AnyEngine) -> dict[str, float]:
        if self._averages is None:
            return self._reader.read(engine)
        return self._averages.values() | self._reader.read_rest(engine)

    def _done(self, engine: AnyEngine) -> int:
        return engine.state.iteration - self._before

    def _total(self, engine: AnyEngine) -> int | None:
        state = engine.state
        length = state.epoch_length
        limit = None if state.max_iters is None else state.max_iters - self._before
        if self._scope == "run":
            in_epochs = None if length is None or state.max_epochs is None else length * state.max_epochs
            return in_epochs if limit is None else limit
        return length if length is None or limit is None else min(length, limit)

    def _describe(self, engine: AnyEngine) -> str:
        if self._scope == "run":
            return self._description or "Run"
        state = engine.state
        if self._description is not None and state.max_epochs == 1:
            return self._description
        count = f"{state.epoch}/{state.max_epochs}" if state.max_epochs is not None else f"{state.epoch}"
        return f"{self._description or 'Epoch'} [{count}]"

    def _drawing(self, stream: TextIO) -> dict[str, Any]:
        if not is_writer():
            return {"disable": True}
        if self._is_notebook:
            return {}
        if not self._live:  # a line in a file cannot be redrawn: tqdm only counts and measures
            return {"delay": math.inf}
        # Some terminals say that they have size 0, and tqdm would make its bar that small.
        return {"dynamic_ncols": True} if _has_size(stream) else {"ncols": 80, "nrows": 24}

    def _stream(self) -> TextIO:
        return sys.stderr if self._file is None else self._file


def _has_size(stream: TextIO) -> bool:
    """Return whether `stream` is a terminal that knows its size."""
    try:
        return os.get_terminal_size(stream.fileno()).columns > 0
    except OSError:
        return False


def _require_options(options: Mapping[str, Any]) -> None:
    """Refuse keywords that are not options of tqdm, or not the user's to choose."""
    known = inspect.signature(import_extra("tqdm.std", "progress", "ProgressBar").tqdm.__init__).parameters
    for name in options:
        if name in NOT_OPTIONS:
            raise ArgumentTypeError(f"`{name}` must not be given to ProgressBar; here it is {NOT_OPTIONS[name]}")
        if name not in known and name != "display":  # the one option that only notebooks have
            shown = ", ".join(option for option in known if option not in (*NOT_OPTIONS, "self", "file", "kwargs"))
            raise ArgumentTypeError(f"`{name}` must be an argument of ProgressBar or an option of tqdm: {shown}")


def _import_bar_class() -> Any:
    """Return tqdm's class for the terminal or the notebook that this runs in, without its monitoring thread."""
    # The loop alone redraws the bar. A thread would be in the way when workers are forked.
    return type("Bar", (import_extra("tqdm.auto", "progress", "ProgressBar").tqdm,), {"monitor_interval": 0})
