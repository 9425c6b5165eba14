"""What a profiler has measured: a summary, a table, and a trace."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Summary = dict[str, Any]


class Row:
    """How often something happened and how long it took in total.

    Attributes:
        kind: "phase", "event" or "handler".
        event: name of the event; empty for a phase.
        name: name of the phase or of the handler; empty for an event.
        handler: the handler itself.
        count: how often it happened.
        total_ns: how long it took in total, in nanoseconds.
    """

    __slots__ = ("count", "event", "handler", "kind", "name", "total_ns")

    def __init__(self, kind: str, event: str, name: str, handler: object = None) -> None:
        self.kind = kind
        self.event = event
        self.name = name
        self.handler = handler
        self.count = 0
        self.total_ns = 0


class Slice(NamedTuple):
    """One call of a handler, or one phase, in iteration `number`."""

    row: Row
    begin_ns: int
    end_ns: int
    number: int


def name_of(handler: Any) -> str:
    """Return a readable name for a handler.

    Examples:
        >>> name_of(print), name_of([].append), name_of(functools.partial(print, "a"))
        ('print', 'list.append', 'print')
    """
    while isinstance(handler, functools.partial):
        handler = handler.func
    owner, code = getattr(handler, "__self__", None), getattr(handler, "__code__", None)
    name = getattr(handler, "__name__", None)
    if name is None:
        return type(handler).__qualname__
    if name == "<lambda>" and code is not None:
        return f"lambda ({Path(code.co_filename).name}:{code.co_firstlineno})"
    if owner is not None and not isinstance(owner, type(os)):  # builtins belong to their module
        return f"{(owner if isinstance(owner, type) else type(owner)).__qualname__}.{name}"
    return str(getattr(handler, "__qualname__", name)).replace("<locals>.", "")


def summarize(rows: Iterable[Row], wall_ns: int) -> Summary:
    """Return the rows in seconds and shares, the longest times first."""
    events: dict[str, Row] = {}
    kinds: dict[str, list[Row]] = {"phase": [], "handler": []}
    for row in rows:
        if row.kind != "event" and row.count:
            kinds[row.kind].append(row)
        if row.event:
            event = events.setdefault(row.event, Row("event", row.event, row.event))
            event.count = max(event.count, row.count)
            event.total_ns += row.total_ns
    fired = [event for event in events.values() if event.count]
    return {
        "wall_s": wall_ns / 1e9,
        "phases": _measures(kinds["phase"], wall_ns),
        "events": _measures(fired, wall_ns),
        "handlers": _measures(kinds["handler"], wall_ns),
    }


def _measures(rows: Iterable[Row], wall_ns: int) -> list[dict[str, Any]]:
    return [
        {
            **({"event": row.event} if row.kind == "handler" else {}),
            "name": row.name,
            "count": row.count,
            "total_s": row.total_ns / 1e9,
            "mean_s": row.total_ns / row.count / 1e9,
            "share": row.total_ns / wall_ns if wall_ns else 0.0,
        }
        for row in sorted(rows, key=lambda row: -row.total_ns)
    ]


def format_table(summary: Summary) -> str:
    """Return a table: the phases, then each event followed by its handlers."""
    rows = [*summary["phases"]]
    for event in summary["events"]:
        members = [row for row in summary["handlers"] if row["event"] == event["name"]]
        if members:
            rows += [event, *({**row, "name": f"  {row['name']}"} for row in members)]
    width = max([len(row["name"]) for row in rows] + [len("total")])
    lines = [f"{'':<{width}} {'count':>9} {'total':>10} {'mean':>10} {'share':>7}"]
    lines += [
        f"{row['name']:<{width}} {row['count']:>9,} {duration_text(row['total_s']):>10} "
        f"{duration_text(row['mean_s']):>10} {row['share']:>7.1%}"
        for row in rows
    ]
    return "\n".join([*lines, f"{'total':<{width}} {'':>9} {duration_text(summary['wall_s']):>10}"])


def duration_text(seconds: float) -> str:
    """Return a duration for people.

    Examples:
        >>> duration_text(2), duration_text(0.0125), duration_text(3e-6)
        ('2.00 s', '12.50 ms', '3.00 us')
    """
    for unit, factor in (("s", 1), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.2f} {unit}"
    return f"{seconds * 1e6:.2f} us"


def trace(slices: Sequence[Slice], dropped: int) -> dict[str, Any]:
    """Return slices in the Trace Event Format.

    Sources:
        "Trace Event Format", the document behind chrome://tracing: complete events ("X") with times in
        microseconds, metadata events ("M") for the names.
    """
    process = {"pid": os.getpid(), "tid": 0}
    start = min((each.begin_ns for each in slices), default=0)
    names = [
        {"ph": "M", "name": "process_name", **process, "args": {"name": "camshaft"}},
        {"ph": "M", "name": "thread_name", **process, "args": {"name": "loop"}},
    ]
    calls = [
        {
            "ph": "X", "name": each.row.name, "cat": each.row.event or "phase", **process,
            "ts": (each.begin_ns - start) / 1e3, "dur": (each.end_ns - each.begin_ns) / 1e3,
            "args": {"iteration": each.number},
        }
        for each in sorted(slices, key=lambda each: (each.begin_ns, -each.end_ns))
    ]  # fmt: skip
    return {"traceEvents": names + calls, "displayTimeUnit": "ms", "otherData": {"dropped_slices": dropped}}


def to_json(content: dict[str, Any]) -> str:
    """Return JSON."""
    return json.dumps(content, indent=1)
