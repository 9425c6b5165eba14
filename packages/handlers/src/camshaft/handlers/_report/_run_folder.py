"""What the files in the folder of a run say. They are not trusted: what is not as expected is left out and told."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camshaft.handlers._checkpoint_row import Row, describe
from camshaft.handlers._row_file import complete_lines
from camshaft.handlers.checkpoint import list_checkpoints

OPTIONS, PROFILE = "options.json", "profile.json"
# What reading a file raises that is not of the kind that its name says.
MALFORMED = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError, csv.Error)
DEEPEST = 3  # folders below that of the run that are looked into


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
    for folder in [path, *folders_below(path, DEEPEST)]:
        for file in sorted(each for each in folder.iterdir() if each.is_file() and not each.is_symlink()):
            name = str(file.relative_to(path))
            try:
                _read_file(run, file, name)
            except (OSError, *MALFORMED) as error:
                run.problems.append(f"{name}: {error}")
        if rows := describe(list_checkpoints(folder), verify=verify):
            run.checkpoints[str(folder.relative_to(path))] = rows
    return run


def folders_below(path: Path, deepest: int) -> Iterator[Path]:
    """Yield the folders inside a folder, in order; hidden ones and links are left out."""
    if deepest:
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                yield Path(entry.path)
                yield from folders_below(Path(entry.path), deepest - 1)


def _read_file(run: RunFolder, file: Path, name: str) -> None:
    if name == OPTIONS:
        run.options = _mapping(json.loads(file.read_text(encoding="utf-8")))
    elif name == PROFILE:
        run.profile = _profile(json.loads(file.read_text(encoding="utf-8")))
    elif file.suffix == ".jsonl":
        _read_lines(run, file, name)
    elif file.suffix == ".csv":
        run.curves += _csv_curves(file, name)


def _read_lines(run: RunFolder, file: Path, name: str) -> None:
    """Read the log of a run, or a history: the first has texts in its lines, the second has numbers only."""
    lines = [_mapping(json.loads(line)) for line in complete_lines(file)]
    if lines and "what" in lines[0]:
        run.starts += pair_starts(lines)
    elif lines:
        rows = [{key: float(value) for key, value in line.items()} for line in lines]
        run.curves.append(Curves(name, next(iter(rows[0])), rows))


def _csv_curves(file: Path, name: str) -> list[Curves]:
    with file.open(encoding="utf-8", newline="") as text:
        reader = csv.DictReader(text)
        rows = [{key: float(value) for key, value in row.items() if value} for row in reader]
    return [Curves(name, reader.fieldnames[0], rows)] if rows and reader.fieldnames else []


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
