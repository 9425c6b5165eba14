"""Keep the history of a run: chosen values, one line each time."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

from camshaft.handlers._learning_curve import draw_learning_curve
from camshaft.handlers._local_path import local_path
from camshaft.handlers._logger import Logger
from camshaft.handlers._row_file import RowFile, complete_lines

Row = dict[str, float]


class History(Logger):
    """Writes values as JSON lines: `{"epoch": 1, "loss": 0.5}`.

    A new history starts the file again. If it is saved and restored with the run, it continues after the last line
    that was there when it was saved; later lines, which a killed run has written, are removed, an unfinished one too.
    NaN and infinity, which JSON lacks, are written as strings.

    Args:
        path: the file to write; its folder is made if it is missing.
        step_name: the name under which the step is written.

    Raises:
        ArgumentError: `path` is a URL.

    Examples:
        >>> from camshaft.engine import Engine
        >>> engine = Engine(lambda engine, batch: batch)
        >>> history = History(getfixture("tmp_path") / "history.jsonl")
        >>> history.attach(engine, output_transform=lambda output: {"loss": output})
        >>> state = engine.run([0.5, 0.25], max_epochs=2, epoch_length=1)
        >>> history.rows()
        [{'epoch': 1, 'loss': 0.5}, {'epoch': 2, 'loss': 0.25}]
    """

    def __init__(self, path: str | os.PathLike[str], *, step_name: str = "epoch") -> None:
        self._file = RowFile(path)
        self._step_name = step_name

    def write(self, values: Mapping[str, float], step: int) -> None:
        """Add a line.

        Args:
            values: names to numbers; at least one.
            step: what they belong to.
        """
        written = {name: value if math.isfinite(value) else str(value) for name, value in values.items()}
        self._file.add(json.dumps({self._step_name: step, **written}))

    def rows(self) -> list[Row]:
        """Return all lines of this run, including those from before it was resumed."""
        return [_parse(line) for line in self._file.lines()]

    @staticmethod
    def read(path: str | os.PathLike[str]) -> list[Row]:
        """Return the lines of a file, without an unfinished last one; an empty list when there is no file.

        Args:
            path: the file to read.
        """
        return [_parse(line) for line in complete_lines(local_path("path", path))]

    def plot(self, path: str | os.PathLike[str], names: Iterable[str] | None = None) -> None:
        """Draw the learning curve: one panel per quantity, with one line per tag.

        Args:
            path: the image file to write; its suffix decides the format.
            names: what to draw, in this order; None draws everything. `"train/loss"` and `"validation/loss"` are two
                lines in the panel "loss".

        Raises:
            ExtraMissingError: matplotlib is not installed; the extra is camshaft-handlers[plot].
            ArgumentError: there is nothing to draw, or `path` is a URL.
        """
        draw_learning_curve(self.rows(), self._step_name, local_path("path", path), names)

    def state_dict(self) -> dict[str, Any]:
        """Return the size of the file in bytes; that much is on the disk then."""
        return self._file.state_dict()

    def consolidate_state_dict(self, to: int) -> None:
        """Learn from the process that writes how large the file is. All processes have to call this.

        Args:
            to: the process that is going to save the state.
        """
        self._file.consolidate_state_dict(to)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Args:
            state_dict: what `state_dict` returned.

        Raises:
            StateDictError: it is not such a state; nothing is changed then.
        """
        self._file.load_state_dict(state_dict)


def _parse(line: str) -> Row:
    return {name: float(value) if isinstance(value, str) else value for name, value in json.loads(line).items()}
