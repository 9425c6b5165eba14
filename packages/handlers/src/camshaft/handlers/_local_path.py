"""Paths of this machine, told apart from the URLs of other places."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath

from camshaft.engine import ArgumentError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_TAKEN_APART = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/(?!/)")
_REMEDY = "write the file here, and copy it afterwards; only checkpoints are saved to URLs"


def is_url(place: object) -> bool:
    """Return whether a place is the URL of a file system, and no path of this machine.

    Raises:
        ArgumentError: it was a URL, until pathlib made a path of it.

    Examples:
        >>> is_url("s3://bucket/run"), is_url("run"), is_url("c:/run")
        (True, False, False)
    """
    if _is_taken_apart(place):
        raise ArgumentError(
            f"`dirname` must be a string with :// if it is a URL, got {place!r}; pathlib takes URLs apart"
        )
    return isinstance(place, str) and _URL.match(place) is not None


def local_path(name: str, place: str | os.PathLike[str], remedy: str = _REMEDY) -> Path:
    """Return a path of this machine as a `Path`.

    Args:
        name: The argument that it was given as.
        place: The path.
        remedy: What to do if it is a URL.

    Raises:
        ArgumentError: it is a URL. It would become a folder here whose name ends in a colon.

    Examples:
        >>> local_path("path", "run/history.jsonl").name
        'history.jsonl'
    """
    if _is_taken_apart(place) or is_url(place):
        raise ArgumentError(f"`{name}` must be a path of this machine, got {str(place)!r}; {remedy}")
    return Path(place)


def _is_taken_apart(place: object) -> bool:
    if isinstance(place, PurePath):
        place = f"{place.parts[0]}/" if place.parts else ""
    # Or what `str` makes of such a path. As a string, `./s3:/run` is a folder here whose name ends in a colon.
    return isinstance(place, str) and _TAKEN_APART.match(place) is not None
