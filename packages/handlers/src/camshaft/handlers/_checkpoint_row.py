"""What people are told about a checkpoint file: its step, its score, and whether it is sound."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from camshaft.handlers.checkpoint import CheckpointError, CheckpointFile, CheckpointRecord, verify_checkpoint
from camshaft.handlers.checkpoint.storage._place import open_checkpoint
from camshaft.handlers.checkpoint.storage._shard_folder import look_at_folder

Row = dict[str, Any]


def describe(files: Sequence[CheckpointFile], *, verify: bool, are_all: bool = True) -> list[Row]:
    """Return what is known of each file, the newest first.

    Args:
        files: the files.
        verify: whether to read each of them completely.
        are_all: whether they are all that a directory has: then the newest and the best are marked.

    Returns:
        A row per file that is there; its `problem` says what is wrong with the file, or is None. A file that was
        removed since it was listed is left out: runs do that all the time.
    """
    problems = [(file, _problem(file, verify=verify)) for file in files]
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
            "problem": problem,
        }
        for file, problem in problems
        if problem is None or not _is_gone(file)
    ]
    sound = [row for row in rows if row["problem"] is None and are_all]
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
    if not file.is_legible and not verify:
        return "its end is cut off or changed"
    try:
        if verify:
            verify_checkpoint(file.path)
        elif isinstance(file.path, Path) and file.record is not None and file.record.shards is not None:
            look_at_folder(file.path.parent, file.record.shards)
    except CheckpointError as error:
        text = str(error).removeprefix(f"{file.path}: ")
        return text.removeprefix(f"{file.path.parent}{os.sep}") if isinstance(file.path, Path) else text
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return None


def _is_gone(file: CheckpointFile) -> bool:
    store, name = open_checkpoint(file.path)
    try:
        return not store.has(name)
    except FileNotFoundError:  # its directory is gone, too
        return True


def size_text(size_bytes: int) -> str:
    """Return a size for people.

    Examples:
        >>> size_text(900), size_text(2048), size_text(5 << 30)
        ('900 B', '2.0 KiB', '5.0 GiB')
    """
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return f"{size_bytes} B"
