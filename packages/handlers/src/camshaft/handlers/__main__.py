"""Look at what a run has left behind.

    python -m camshaft.handlers list DIR      its checkpoints; quick, as only the end of each file is read
    python -m camshaft.handlers verify DIR    the same, but every file is read completely, shards included
    python -m camshaft.handlers report DIR    one HTML page about the run: curves, checkpoints, starts and stops

`list` and `verify` take one checkpoint, too: its file, its folder of shards, or a shard in it.

None of them needs PyTorch, takes a lock or changes a checkpoint. The exit status of `list` and `verify` is 0 if all
files are good, 1 if one is damaged, 2 if there are none; that of `report` is 2 if there is nothing to show.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from camshaft.engine import ArgumentError
from camshaft.handlers._checkpoint_row import Row, describe, size_text
from camshaft.handlers._errors import ExtraMissingError
from camshaft.handlers._report import write_report
from camshaft.handlers.checkpoint import CheckpointFile, list_checkpoints
from camshaft.handlers.checkpoint.format._file_name import printable
from camshaft.handlers.checkpoint.format._record import SHARDS


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for.

    Args:
        arguments: the command line; None means that of this process.

    Returns:
        The exit status.
    """
    options = _make_parser().parse_args(arguments)
    try:
        return _report(options) if options.action == "report" else _list(options)
    except OSError as error:
        place = error.filename or options.directory
        verb = "written" if options.action == "report" and Path(place) != Path(options.directory) else "read"
        print(f"{place} cannot be {verb}: {error.strerror or error}", file=sys.stderr)
        return 2


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m camshaft.handlers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name, text in (("list", "read the end of each checkpoint"), ("verify", "read each checkpoint completely")):
        action = actions.add_parser(name, help=text)
        text = "where the checkpoints are: a path, or a URL such as s3://bucket/run; or one of them"
        action.add_argument("directory", help=text)
        action.add_argument("--json", action="store_true", help="one JSON object per file")
    report = actions.add_parser("report", help="write one HTML page about a run")
    report.add_argument("directory", help="the folder of the run, on this machine")
    report.add_argument("--output", metavar="FILE", help="the page; by default, report.html in the folder")
    report.add_argument("--quick", action="store_true", help="read the end of each checkpoint only")
    return parser


def _list(options: argparse.Namespace) -> int:
    try:
        rows = _rows(options)
    except (ArgumentError, ExtraMissingError) as error:  # it is no URL that can be used here
        print(error, file=sys.stderr)
        return 2
    except NotADirectoryError:
        print(f"{options.directory} is neither a checkpoint nor a directory with checkpoints", file=sys.stderr)
        return 2
    if not rows:
        print(f"{options.directory} holds no checkpoints", file=sys.stderr)
        return 2
    print("\n".join(map(_json, rows)) if options.json else _table(rows))
    return int(any(row["problem"] for row in rows))


def _rows(options: argparse.Namespace) -> list[Row]:
    """Return a row per checkpoint. A run may replace all of them while they are read: then they are listed again."""
    verify = options.action == "verify"
    if chosen := _chosen(Path(options.directory).expanduser().absolute()):
        return describe(chosen, verify=verify, are_all=False)
    while files := list_checkpoints(options.directory):
        if rows := describe(files, verify=verify):
            return rows
    return []


def _chosen(path: Path) -> list[CheckpointFile]:
    """Return the checkpoint that is given by its file, its folder of shards, or a shard; nothing for a directory."""
    if path.is_file() or path.name.endswith(SHARDS):
        for part in (path, path.parent):
            if found := [file for file in list_checkpoints(part.parent) if part.name in (file.name, _folder_of(file))]:
                return found
    return []


def _folder_of(file: CheckpointFile) -> str | None:
    shards = None if file.record is None else file.record.shards
    return None if shards is None else shards.folder


def _report(options: argparse.Namespace) -> int:
    try:
        print(write_report(options.directory, options.output, verify=not options.quick))
    except ArgumentError as error:  # nothing about a run is there, or it is a URL
        print(error, file=sys.stderr)
        return 2
    return 0


def _json(row: Row) -> str:
    """Return a row as JSON, which has no NaN and no infinity: these are strings."""
    score = row["score"]
    return json.dumps({**row, "score": score if score is None or math.isfinite(score) else str(score)})


def _table(rows: Sequence[Row]) -> str:
    """Return the rows as text in columns."""
    cells: list[tuple[str, ...]] = [("file", "step", "score", "size", "")]
    for row in rows:
        score = "" if row["score"] is None else f"{row['score_name'] or 'score'}={row['score']:.6g}"
        step = "" if row["step"] is None else f"{row['step']:g}"
        notes = [*row["marks"], *(["inexact"] if row["exact"] is False else [])]
        if row["problem"] is not None:
            notes.append(f"DAMAGED: {row['problem']}")
        texts = (row["file"], step, score, size_text(row["size_bytes"]), ", ".join(notes))
        cells.append(tuple(map(printable, texts)))
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    return "\n".join(
        f"{file:<{widths[0]}}  {step:>{widths[1]}}  {score:<{widths[2]}}  {size:>{widths[3]}}  {notes}".rstrip()
        for file, step, score, size, notes in cells
    )


if __name__ == "__main__":
    sys.exit(main())
