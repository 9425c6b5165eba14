"""Write values into a CSV file."""

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
    """Writes a row of comma-separated values each time; the first row has the names.

    A new logger starts the file again. If it is saved and restored with the run, it continues after the last row that
    was there when it was saved; later rows, which a killed run has written, are removed.

    Args:
        path: the file to write; its folder is made if it is missing.
        columns: names of the values, in this order. None means those of the first row. A row without one of these
            values has an empty cell.
        step_name: name of the first column, which has the step.

    Raises:
        ArgumentError: `path` is a URL; or, when a row is written) a value has no column.

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
        """Add a row.

        Args:
            values: names to numbers; at least one.
            step: what they belong to.
        """
        header = self._header()
        columns = header or self._given or tuple(values)
        for name in values:
            if name not in columns:
                raise ArgumentError(
                    f"`columns` must name every value of {self._rows.path}, got {columns!r} without {name!r}; name all "
                    "of them when you make the logger, or use one logger for each kind of row"
                )
        if header is None:
            self._rows.add(_row([self._step_name, *columns]))
        self._rows.add(_row([step, *(values.get(name, "") for name in columns)]))
        self._columns = columns

    def state_dict(self) -> dict[str, Any]:
        """Return the size of the file in bytes; that much is on the disk then."""
        return self._rows.state_dict()

    def consolidate_state_dict(self, to: int) -> None:
        """Learn from the process that writes how large the file is. All processes have to call this.

        Args:
            to: the process that is going to save the state.
        """
        self._rows.consolidate_state_dict(to)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Args:
            state_dict: what `state_dict` returned.

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
