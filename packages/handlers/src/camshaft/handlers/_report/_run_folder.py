"""What the files in the folder of a run say. They are not trusted: what is not as expected is left out and told."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from camshaft.handlers._checkpoint_row import Row, describe
from camshaft.handlers._row_file import complete_lines
from camshaft.handlers.checkpoint import list_checkpoints

OPTIONS, PROFILE = "options.json", "profile.json"
# What reading a file raises that is not of the kind that its name says.
MALFORMED = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, csv.Error)
DEEPEST = 3  # folders below that of the run that are looked into
Line = TypeVar("Line")
Read = TypeVar("Read")


@dataclass(frozen=True)
class Curves:
    """The rows of a history or a CSV file: names to numbers, each with its step."""

    file: str
    step_name: str
    rows: Sequence[dict[str, float]]


@dataclass(frozen=True)
class Start:
    """A start of the run, and its end; None where nothing tells of one. A run has several if it was resumed."""

    begin: dict[str, Any] | None
    end: dict[str, Any] | None


@dataclass
class RunFolder:
    """What is known of a run.

    Attributes:
        path: its folder.
        options: what is in options.json.
        curves: the histories and CSV files.
        checkpoints: rows about the files in each folder that has some.
        profile: what a `Profiler` wrote into profile.json.
        starts: what a `RunLog` wrote.
        problems: what could not be read, and why.
    """

    path: Path
    options: dict[str, Any] = field(default_factory=dict)
    curves: list[Curves] = field(default_factory=list)
    checkpoints: dict[str, list[Row]] = field(default_factory=dict)
    profile: dict[str, Any] | None = None
    starts: list[Start] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.options or self.curves or self.checkpoints or self.profile or self.starts)


def read_run_folder(path: Path, *, verify: bool) -> RunFolder:
    """Read everything in a folder that tells about a run.

    Args:
        path: the folder.
        verify: whether to read every checkpoint completely.

    Raises:
        OSError: the folder cannot be read.
    """
    run = RunFolder(path)
    _read_folder(run, path, verify=verify)
    for folder in folders_below(path, DEEPEST):
        try:
            _read_folder(run, folder, verify=verify)
        except OSError as error:  # it may be gone by now: the run may be going on
            run.problems.append(f"{folder.relative_to(path)}: {error.strerror or error}")
    return run


def folders_below(path: Path, deepest: int) -> Iterator[Path]:
    """Yield the folders inside a folder, in order; hidden ones and links are left out, and what cannot be read."""
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name) if deepest else []
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
            yield Path(entry.path)
            yield from folders_below(Path(entry.path), deepest - 1)


def _read_folder(run: RunFolder, folder: Path, *, verify: bool) -> None:
    for file in sorted(each for each in folder.iterdir() if each.is_file() and not each.is_symlink()):
        name = str(file.relative_to(run.path))
        try:
            _read_file(run, file, name)
        except (OSError, *MALFORMED) as error:
            run.problems.append(f"{name}: {getattr(error, 'strerror', None) or error}")
    if rows := describe(list_checkpoints(folder), verify=verify):
        run.checkpoints[str(folder.relative_to(run.path))] = rows


def _read_file(run: RunFolder, file: Path, name: str) -> None:
    if name == OPTIONS:
        run.options = _mapping(json.loads(file.read_text(encoding="utf-8")))
    elif name == PROFILE:
        run.profile = _profile(json.loads(file.read_text(encoding="utf-8")))
    elif file.suffix == ".jsonl":
        _read_lines(run, file, name)
    elif file.suffix == ".csv":
        _read_rows(run, file, name)


def _read_lines(run: RunFolder, file: Path, name: str) -> None:
    """Read the log of a run, or a history: the first has texts in its lines, the second has numbers only."""
    lines = _each(run, name, complete_lines(file), lambda line: _mapping(json.loads(line)))
    if lines and "what" in lines[0]:
        run.starts += pair_starts(_each(run, name, lines, _log_line))
    elif rows := _each(run, name, lines, _numbers):
        run.curves.append(Curves(name, next(iter(rows[0])), rows))


def _read_rows(run: RunFolder, file: Path, name: str) -> None:
    """Read a CSV file; a cell without anything in it is left out."""
    reader = csv.DictReader(complete_lines(file))
    filled = ({key: value for key, value in row.items() if value} for row in reader)
    if rows := _each(run, name, filled, _numbers):
        run.curves.append(Curves(name, (reader.fieldnames or [""])[0], rows))


def _each(run: RunFolder, name: str, lines: Iterable[Line], read: Callable[[Line], Read]) -> list[Read]:
    """Read line by line; those that are not as expected are left out, counted, and the first one is told."""
    found, wrong = [], []
    for number, line in enumerate(lines, 1):
        try:
            found.append(read(line))
        except MALFORMED as error:
            wrong.append(f"the first is line {number}, {error}")
    if wrong:
        run.problems.append(f"{name}: {len(wrong)} of {len(wrong) + len(found)} lines are left out, {wrong[0]}")
    return found


def _numbers(line: dict[str, Any]) -> dict[str, float]:
    if not line:
        raise ValueError("it must have a value, got none")
    return {key: float(value) for key, value in line.items()}


def _log_line(line: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(line["what"], str):
        raise TypeError(f"`what` must be a text, got {line['what']!r}")
    return {"iteration": "unknown", **line}


def pair_starts(lines: Sequence[dict[str, Any]]) -> list[Start]:
    """Put each end to its start.

    Examples:
        >>> lines = [{"what": what} for what in ("started", "resumed", "completed")]
        >>> [(start.begin["what"], start.end and start.end["what"]) for start in pair_starts(lines)]
        [('started', None), ('resumed', 'completed')]
    """
    starts: list[Start] = []
    for line in lines:
        if line["what"] in ("started", "resumed"):
            starts.append(Start(line, None))
        elif starts and starts[-1].end is None:
            starts[-1] = Start(starts[-1].begin, line)
        else:
            starts.append(Start(None, line))  # it went on after an interrupt, without a start of its own
    return starts


def _mapping(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise TypeError(f"it must be an object with names and values, got {type(content).__name__}")
    return content


def _profile(content: Any) -> dict[str, Any]:
    """Return a profile whose rows have what is shown of them."""
    profile = _mapping(content)
    rows = [row for part in ("phases", "events", "handlers") for row in profile[part]]
    for row in rows:
        str(row["name"]), float(row["total_s"]), float(row["mean_s"]), float(row["share"]), int(row["count"])
    float(profile["wall_s"])
    return profile
