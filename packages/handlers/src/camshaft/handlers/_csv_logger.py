"""Write values into a table that any program can read."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Mapping
from typing import Any

from camshaft.engine import ArgumentError
from camshaft.handlers._logger import Logger
from camshaft.handlers._row_file import RowFile


class CSVLogger(Logger):
    """Writes a row of comma-separated values each time, and names in the first row.

    A new logger makes the file anew. Saved and restored with the run, it goes on behind the last
    row that was there when it was saved; what a later, killed part of the run wrote is dropped.

    Args:
        path: the file.
        columns: names of the values, in their order. None means those of the first row. A value that
            is missing in a row leaves its place empty.
        step_name: name of the first column, which holds the step.

    Raises:
        ArgumentError: (when written) a value has no column.

    Examples:
        >>> from camshaft.engine import Engine, Events
        >>> path = getfixture("tmp_path") / "loss.csv"
        >>> engine = Engine(lambda engine, batch: batch)
        >>> logger = CSVLogger(path)
        >>> logger.attach(engine, Events.ITERATION_COMPLETED, output_transform=lambda output: {"loss": output})
        >>> state = engine.run([0.5, 0.25])
        >>> print(path.read_text())
        step,loss
        1,0.5
        2,0.25
    """

    def __init__(
        self, path: str | os.PathLike[str], columns: Iterable[str] | None = None, *, step_name: str = "step"
    ) -> None:
        self._rows = RowFile(path)
        self._given = None if columns is None else tuple(columns)
        self._step_name = step_name
        self._columns: tuple[str, ...] | None = None

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Add a row."""
        header = self._header()
        columns = header or self._given or tuple(values)
        for name in values:
            if name not in columns:
                raise ArgumentError(
                    f"`columns` must name every value of {self._rows.path}, got {columns!r} without {name!r}; name all "
                    "of them at construction, or use a logger for each kind of row"
                )
        if header is None:
            self._rows.add(_row([self._step_name, *columns]))
        self._rows.add(_row([step, *(values.get(name, "") for name in columns)]))
        self._columns = columns

    def state_dict(self) -> dict[str, Any]:
        """Return how far the file goes."""
        return self._rows.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Raises:
            StateDictError: it is not such a state; nothing is changed then.
        """
        self._rows.load_state_dict(state_dict)
        self._columns = None

    def _header(self) -> tuple[str, ...] | None:
        """Return the columns that the file has, None before its first row."""
        if self._columns is None and (lines := self._rows.lines()):
            return tuple(next(csv.reader(lines[:1]))[1:])
        return self._columns


def _row(cells: Iterable[object]) -> str:
    row = io.StringIO()
    csv.writer(row, lineterminator="").writerow(cells)
    return row.getvalue()
