"""Note when a run started, was resumed, and ended."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from camshaft.engine import Events
from camshaft.handlers._local_path import local_path
from camshaft.handlers._rank import is_writer
from camshaft.handlers._row_file import complete_lines
from camshaft.handlers._value_reader import AnyEngine


class RunLog:
    """Writes a JSON line whenever a run starts, is resumed or ends: when, where, and how.

    Lines are only added, also when the run is resumed from an earlier place. So the file tells what has really
    happened. A start without an end is a process that was killed, or one that is still running.

    A line has `what`, `time` (UTC, ISO 8601), `epoch` and `iteration`. A start is "started" or "resumed", and has
    `host` and `process`. An end is "completed", "terminated", "interrupted" or "failed"; the last one has `error`.

    Args:
        path: the file to add to; its folder is made if it is missing.
        clock: returns the time, in seconds since 1970.

    Raises:
        ArgumentError: `path` is a URL.

    Examples:
        >>> from camshaft.engine import Engine
        >>> engine, log = Engine(lambda engine, batch: None), RunLog(getfixture("tmp_path") / "run-log.jsonl")
        >>> log.attach(engine)
        >>> handle = engine.add_event_handler(Events.ITERATION_COMPLETED(once=3), engine.terminate)
        >>> state = engine.run(range(2), max_epochs=2)
        >>> state = engine.run()
        >>> [(line["what"], line["iteration"]) for line in RunLog.read(log.path)]
        [('started', 0), ('terminated', 3), ('resumed', 3), ('completed', 4)]
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Callable[[], float] = time.time) -> None:
        self.path = local_path("path", path).absolute()
        self._clock = clock
        self._is_open = False

    def attach(self, engine: AnyEngine) -> None:
        """Note the starts and the ends of an engine's runs.

        Args:
            engine: the engine.
        """
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.INTERRUPT, self._interrupt)
        engine.add_event_handler(Events.TERMINATE, self._terminate)
        engine.add_event_handler(Events.COMPLETED, self._complete)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._fail)

    @staticmethod
    def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
        """Return the lines of a file, without an unfinished last one.

        Args:
            path: the file to read.
        """
        return [json.loads(line) for line in complete_lines(local_path("path", path))]

    def _start(self, engine: AnyEngine) -> None:
        self._is_open = True
        where = {"host": socket.gethostname(), "process": os.getpid()}
        self._add(engine, "resumed" if engine.state.resumed else "started", where)

    def _interrupt(self, engine: AnyEngine) -> None:
        # The next run() goes on without STARTED: its end belongs to this start.
        self._add(engine, "interrupted")

    def _terminate(self, engine: AnyEngine) -> None:
        limit = engine.state.max_iters
        if limit is None or engine.state.iteration < limit:  # at the limit the run is complete, and TERMINATE fires too
            self._end(engine, "terminated")

    def _complete(self, engine: AnyEngine) -> None:
        self._end(engine, "completed")

    def _fail(self, engine: AnyEngine, error: BaseException) -> None:
        self._end(engine, "failed", {"error": f"{type(error).__name__}: {error}"})

    def _end(self, engine: AnyEngine, what: str, details: Mapping[str, Any] | None = None) -> None:
        """Note the first end that is told: COMPLETED comes after TERMINATE as well."""
        if self._is_open:
            self._is_open = False
            self._add(engine, what, details)

    def _add(self, engine: AnyEngine, what: str, details: Mapping[str, Any] | None = None) -> None:
        if not is_writer():
            return
        line = {
            "what": what,
            "time": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds"),
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            **(details or {}),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
