"""Measure where the time of a run goes."""

from __future__ import annotations

import csv
import functools
import itertools
import statistics
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from camshaft.engine import ArgumentTypeError
from ignite.engine import Engine, Events
from ignite.handlers._annotations import AnyEngine
from ignite.handlers._stopwatch import Stopwatch

__all__ = ["BasicTimeProfiler", "HandlersTimeProfiler"]

PROFILED = (
    Events.EPOCH_STARTED, Events.EPOCH_COMPLETED, Events.STARTED, Events.COMPLETED, Events.ITERATION_STARTED,
    Events.ITERATION_COMPLETED, Events.GET_BATCH_STARTED, Events.GET_BATCH_COMPLETED,
)  # fmt: skip
PRINTED = (
    Events.STARTED, Events.EPOCH_STARTED, Events.ITERATION_STARTED, Events.ITERATION_COMPLETED,
    Events.EPOCH_COMPLETED, Events.COMPLETED,
)  # fmt: skip
RUN_EVENTS = (Events.STARTED, Events.COMPLETED)
EPOCH_EVENTS = (Events.EPOCH_STARTED, Events.EPOCH_COMPLETED)
WRITTEN = (
    *RUN_EVENTS, *EPOCH_EVENTS, Events.ITERATION_STARTED, Events.ITERATION_COMPLETED, Events.GET_BATCH_STARTED,
    Events.GET_BATCH_COMPLETED,
)  # fmt: skip


class BasicTimeProfiler:
    """Measures the time in the step, in the data and in the handlers of each event.

    Examples:
        >>> trainer, profiler = Engine(lambda engine, batch: None), BasicTimeProfiler()
        >>> profiler.attach(trainer)
        >>> state = trainer.run([1, 2, 3])
        >>> sorted(profiler.get_results())
        ['dataflow_stats', 'event_handlers_names', 'event_handlers_stats', 'processing_stats']
    """

    def __init__(self) -> None:
        self._stopwatch = Stopwatch(_long_name)

    def attach(self, engine: AnyEngine) -> None:
        """Measure an engine.

        Args:
            engine: the engine.

        Raises:
            TypeError: it is none.
        """
        _require_engine(engine)
        self._stopwatch.attach(engine)

    def get_results(self) -> dict[str, dict[Any, Any]]:
        """Return the measured times in seconds.

        "processing_stats" and "dataflow_stats" have total, min/index, max/index, mean and std;
        "event_handlers_stats" the same for each event, and "total_time"; "event_handlers_names" the
        names of each event's handlers.
        """
        watch = self._stopwatch
        events: dict[str, Any] = {event.name: _summary(watch.firings.get(event.name, [])) for event in PROFILED}
        events["total_time"] = sum(sum(watch.firings.get(event.name, [])) for event in PROFILED)
        return OrderedDict(
            processing_stats=_summary(watch.phases["processing"]),
            dataflow_stats=_summary(watch.phases["dataflow"]),
            event_handlers_stats=events,
            event_handlers_names={
                f"{event.name}_names": [name for place, name in watch.calls if place == event.name]
                for event in PROFILED
            },
        )

    def write_results(self, output_path: str) -> None:
        """Write a row for each iteration into a CSV file.

        Args:
            output_path: the file.
        """
        watch = self._stopwatch
        length = getattr(watch.state, "epoch_length", None) or max(len(watch.phases["processing"]), 1)
        columns = [f"Event_{event.name}" for event in WRITTEN]
        rows = []
        for index, processing in enumerate(watch.phases["processing"]):
            epoch = index // length
            places = dict.fromkeys(RUN_EVENTS, 0) | dict.fromkeys(EPOCH_EVENTS, epoch)
            cells = [_at(watch.firings.get(event.name, []), places.get(event, index)) for event in WRITTEN]
            dataflow = _at(watch.phases["dataflow"], index)
            rows.append([float(epoch + 1), float(index + 1), processing, dataflow, *cells])
        _write_csv(output_path, ["epoch", "iteration", "processing_stats", "dataflow_stats", *columns], rows)

    @staticmethod
    def print_results(results: dict[str, Any]) -> str:
        """Print results as a table.

        Args:
            results: what `get_results` returned.

        Returns:
            The table.
        """
        stats, names = results["event_handlers_stats"], results["event_handlers_names"]
        title = "Time profiling stats (in seconds):"
        line = f" {'-' * 52}"
        lines = [
            "", line, f"| {title:<51}|", line, "total  |  min/index  |  max/index  |  mean  |  std", "",
            "Processing function:", _written(results["processing_stats"]), "",
            "Dataflow:", _written(results["dataflow_stats"]), "",
            "Event handlers:", f"{stats['total_time']:.5f}", "",
        ]  # fmt: skip
        for event in PRINTED:
            lines += [f"- {event}: {names[f'{event.name}_names']}", _written(stats[event.name]), ""]
        text = "\n".join(lines)
        print(text)  # noqa: T201  # that is what it is for
        return text


class HandlersTimeProfiler:
    """Measures the time in each handler, in the step and in the data.

    Examples:
        >>> trainer, profiler = Engine(lambda engine, batch: None), HandlersTimeProfiler()
        >>> profiler.attach(trainer)
        >>> @trainer.on(Events.EPOCH_COMPLETED)
        ... def validate():
        ...     pass
        >>> state = trainer.run([1, 2, 3])
        >>> [row[:2] for row in profiler.get_results()]
        [['validate', 'EPOCH_COMPLETED'], ['Total', ''], ['Processing', 'None'], ['Dataflow', 'None']]
    """

    def __init__(self) -> None:
        self._stopwatch = Stopwatch(_long_name)

    def attach(self, engine: AnyEngine) -> None:
        """Measure an engine.

        Args:
            engine: the engine.

        Raises:
            TypeError: it is none.
        """
        _require_engine(engine)
        self._stopwatch.attach(engine)

    def get_results(self) -> list[list[Any]]:
        """Return a row for each handler, and for "Total", "Processing" and "Dataflow".

        A row has the handler's name, its event, and in seconds the total, (min, index), (max, index),
        the mean and the standard deviation.
        """
        watch = self._stopwatch
        rows: list[list[Any]] = [[name, event, *_columns(seconds)] for (event, name), seconds in watch.calls.items()]
        total = sum(sum(seconds) for seconds in watch.calls.values())
        rows.append(["Total", "", round(total, 5), "", "", "", ""])
        rows.append(["Processing", "None", *_columns(watch.phases["processing"])])
        rows.append(["Dataflow", "None", *_columns(watch.phases["dataflow"])])
        return rows

    def write_results(self, output_path: str) -> None:
        """Write every measured time into a CSV file, one column for each handler.

        Args:
            output_path: the file.
        """
        watch = self._stopwatch
        columns = {
            "processing_stats": watch.phases["processing"],
            "dataflow_stats": watch.phases["dataflow"],
            **{f"{name} ({event})": seconds for (event, name), seconds in watch.calls.items()},
        }
        rows = [
            [float(number), *row]
            for number, row in enumerate(itertools.zip_longest(*columns.values(), fillvalue=0.0), start=1)
        ]
        _write_csv(output_path, ["#", *columns], rows)

    @staticmethod
    def print_results(results: list[list[Any]]) -> None:
        """Print results as a table.

        Args:
            results: what `get_results` returned.
        """
        *handlers, total, processing, dataflow = results
        width = max([len("Handler"), *(len(row[0]) for row in handlers)]) + 4
        widths = (width, 23, 14, 14, 14, 14, 14)
        line = "  ".join("-" * each for each in widths)
        heads = ("Handler", "Event Name", "Total(s)", "Min(s)/IDX", "Max(s)/IDX", "Mean(s)", "Std(s)")
        lines = ["", line, _aligned(heads, widths), line]
        lines += [_aligned([*row[:3], _pair(row[3]), _pair(row[4]), *row[5:]], widths) for row in handlers]
        lines += [line, _aligned(total, widths), line]
        for name, row in (("Processing", processing), ("Dataflow", dataflow)):
            lines.append(
                f"{name} took total {row[2]}s [min/index: {row[3][0]}s/{row[3][1]}, "
                f"max/index: {row[4][0]}s/{row[4][1]}, mean: {row[5]}s, std: {row[6]}s]"
            )
        print("\n".join([*lines, ""]))  # noqa: T201  # that is what it is for


def _require_engine(engine: object) -> None:
    if not isinstance(engine, Engine):
        raise ArgumentTypeError(f"`engine` must be an Engine, got {type(engine)}")


def _long_name(handler: Callable[..., Any]) -> str:
    if isinstance(handler, functools.partial):
        return "partial"
    return getattr(handler, "__qualname__", type(handler).__name__)


def _extremes(seconds: Sequence[float]) -> tuple[tuple[float, int], tuple[float, int]]:
    lowest, highest = min(seconds), max(seconds)
    return (lowest, seconds.index(lowest)), (highest, seconds.index(highest))


def _summary(seconds: Sequence[float]) -> dict[str, Any]:
    summary: dict[str, Any] = OrderedDict(total=sum(seconds) if seconds else "not yet triggered")
    if len(seconds) > 1:
        summary["min/index"], summary["max/index"] = _extremes(seconds)
        summary["mean"] = statistics.fmean(seconds)
        summary["std"] = statistics.stdev(seconds)
    return summary


def _written(summary: dict[str, Any]) -> str:
    """Return a summary as a line of a table."""
    texts = []
    for value in summary.values():
        if isinstance(value, tuple):
            texts.append(f"{value[0]:.5f}/{value[1]}")
        else:
            texts.append(value if isinstance(value, str) else f"{value:.5f}")
    return " | ".join(texts)


def _columns(seconds: Sequence[float]) -> list[Any]:
    if not seconds:
        return ["not triggered", ("None", "None"), ("None", "None"), "None", "None"]
    lowest, highest = ((round(value, 5), place) for value, place in _extremes(seconds))
    deviation: float | str = round(statistics.stdev(seconds), 5) if len(seconds) > 1 else "None"
    return [round(sum(seconds), 5), lowest, highest, round(statistics.fmean(seconds), 5), deviation]


def _pair(value: tuple[Any, Any]) -> str:
    return f"{value[0]}/{value[1]}"


def _aligned(cells: Sequence[Any], widths: Sequence[int]) -> str:
    first, second, *others = cells
    left = [f"{first:<{widths[0]}}", f"{second:<{widths[1]}}"]
    return "  ".join([*left, *(f"{cell!s:>{width}}" for cell, width in zip(others, widths[2:], strict=True))])


def _at(seconds: Sequence[float], place: int) -> float:
    return seconds[place] if place < len(seconds) else 0.0


def _write_csv(path: str, heads: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
    with Path(path).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(heads)
        writer.writerows(rows)
