"""Show the checkpoints of a directory: `python -m camshaft.handlers list DIR` or `verify DIR`.

`list` is quick: it shows what is written at the end of each file. `verify` reads every file completely and shows which
ones are damaged, and how. Neither needs PyTorch, takes a lock or changes anything. The exit status is 0 if all files
are good, 1 if one is damaged, 2 if there are none.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from camshaft.handlers.checkpoint import (
    CheckpointError,
    CheckpointFile,
    CheckpointRecord,
    list_checkpoints,
    verify_checkpoint,
)

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for.

    Args:
        arguments: the command line; None means that of this process.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m camshaft.handlers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("list", "verify"), help="read the end of each file, or all of it")
    parser.add_argument("directory", type=Path, help="where the checkpoints are")
    parser.add_argument("--json", action="store_true", help="one JSON object per file")
    options = parser.parse_args(arguments)
    try:
        files = list_checkpoints(options.directory)
    except OSError as error:
        print(f"{options.directory} cannot be read: {error.strerror or error}", file=sys.stderr)
        return 2
    if not files:
        print(f"{options.directory} holds no checkpoints", file=sys.stderr)
        return 2
    rows = describe(files, verify=options.action == "verify")
    print("\n".join(map(_json, rows)) if options.json else _table(rows))
    return int(any(row["problem"] for row in rows))


def describe(files: Sequence[CheckpointFile], *, verify: bool) -> list[Row]:
    """Return what is known of each file, the newest first.

    Args:
        files: the files.
        verify: whether to read each of them completely.

    Returns:
        A row per file; its `problem` says what is wrong with the file, or is None.
    """
    rows: list[Row] = [
        {
            "file": file.name,
            "step": file.step,
            "score_name": file.record.score_name if file.record else None,
            "score": _score(file.record),
            "save_number": file.record.save_number if file.record else None,
            "exact": file.record.exact if file.record else None,
            "size_bytes": file.size_bytes,
            "marks": [],
            "problem": _problem(file, verify=verify),
        }
        for file in files
    ]
    sound = [row for row in rows if row["problem"] is None]
    if sound:
        sound[0]["marks"].append("newest")
    for row in _best_rows(sound):
        row["marks"].append("best")
    return rows


def _score(record: CheckpointRecord | None) -> float | None:
    """Return the score of a checkpoint, None when it was kept by its step."""
    if record is None or (record.score_name is None and record.priority == record.step):
        return None
    return record.priority


def _best_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the row with the highest score of each kind; NaN is no score."""
    best: dict[str | None, Row] = {}
    for row in rows:
        score, kind = row["score"], row["score_name"]
        if score is not None and not math.isnan(score) and (kind not in best or score > best[kind]["score"]):
            best[kind] = row
    return list(best.values())


def _problem(file: CheckpointFile, *, verify: bool) -> str | None:
    if not verify:
        return None if file.is_legible else "its end is cut off or changed"
    try:
        verify_checkpoint(file.path)
    except CheckpointError as error:
        return str(error).removeprefix(f"{file.path}: ")
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return None


def _json(row: Row) -> str:
    """Return a row as JSON, which has no NaN and no infinity: these are strings."""
    score = row["score"]
    return json.dumps({**row, "score": score if score is None or math.isfinite(score) else str(score)})


def _table(rows: Sequence[Row]) -> str:
    """Return the rows as text in columns."""
    cells = [("file", "step", "score", "size", "")]
    for row in rows:
        score = "" if row["score"] is None else f"{row['score_name'] or 'score'}={row['score']:.6g}"
        step = "" if row["step"] is None else f"{row['step']:g}"
        notes = [*row["marks"], *(["inexact"] if row["exact"] is False else [])]
        if row["problem"] is not None:
            notes.append(f"DAMAGED: {row['problem']}")
        cells.append((row["file"], step, score, _size(row["size_bytes"]), ", ".join(notes)))
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    return "\n".join(
        f"{file:<{widths[0]}}  {step:>{widths[1]}}  {score:<{widths[2]}}  {size:>{widths[3]}}  {notes}".rstrip()
        for file, step, score, size, notes in cells
    )


def _size(size_bytes: int) -> str:
    """Return a size for people.

    Examples:
        >>> _size(900), _size(2048), _size(5 << 30)
        ('900 B', '2.0 KiB', '5.0 GiB')
    """
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} B"


if __name__ == "__main__":
    sys.exit(main())
