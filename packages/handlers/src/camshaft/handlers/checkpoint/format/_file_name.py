"""What a checkpoint file may be called, what it is called while it is being written, and how any name is shown."""

from __future__ import annotations

import os
import re
import secrets

from camshaft.engine import ArgumentError, ArgumentTypeError

EXTENSION = "pt"
_EXTENSION_OF_FORMAT = {"torch": EXTENSION, "safetensors": "safetensors"}
LONGEST_NAME_BYTES = 255
CLAIM_NAME = ".camshaft-writer"  # says which run writes to a remote directory
_TEMPORARY = re.compile(r"\.camshaft-[0-9a-f]{16}\.tmp")


def require_bare_name(filename: str) -> str:
    """Return `filename` if it names a file right inside a directory.

    Raises:
        ArgumentError: it is empty, too long, no proper text, leads elsewhere, or is reserved.
        ArgumentTypeError: it is no string.

    Examples:
        >>> require_bare_name("model_1.pt")
        'model_1.pt'
    """
    if not isinstance(filename, str):
        raise ArgumentTypeError(f"`filename` must be a string, got {filename!r}; give the name without a directory")
    problem = _name_problem(filename)
    if problem:
        shown = filename if len(filename) <= LONGEST_NAME_BYTES else f"{filename[:40]}..."
        raise ArgumentError(
            f"`filename` must {problem}, got {shown!r}; change `filename_prefix`, the object's name, `score_name` or "
            "`filename_pattern`"
        )
    return filename


def extension_of(format: str) -> str:  # noqa: A002 - what users call it
    """Return the extension that files of a format have; it is what tells the format of a new file.

    Raises:
        ArgumentError: there is no such format.

    Examples:
        >>> extension_of("torch"), extension_of("safetensors")
        ('pt', 'safetensors')
    """
    if format not in _EXTENSION_OF_FORMAT:
        known = " or ".join(map(repr, _EXTENSION_OF_FORMAT))
        raise ArgumentError(f"`format` must be {known}, got {format!r}; leave it out for files of torch.save")
    return _EXTENSION_OF_FORMAT[format]


def printable(text: object) -> str:
    r"""Return a text for one line of a terminal: a name of somebody else's may hold line ends and terminal commands.

    Examples:
        >>> print(printable("a_1.pt" + chr(10) + "b_2.pt"))
        a_1.pt\nb_2.pt
    """
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in str(text))


def new_temporary_name() -> str:
    """Return a name for a file that is still being written; no two are the same."""
    return f".camshaft-{secrets.token_hex(8)}.tmp"


def is_temporary(filename: str) -> bool:
    """Return whether this is the name of a file that is still being written, or was when its process was killed."""
    return _TEMPORARY.fullmatch(filename) is not None


def _name_problem(filename: str) -> str | None:
    try:
        size_bytes = len(filename.encode())
    except UnicodeEncodeError:
        return "be proper Unicode text"
    forbidden = {"/", os.sep, os.altsep or "/"} | (set('<>:"|?*') if os.name == "nt" else set())
    rules = {
        "not be empty": not filename,
        f"not leave its directory: no '..' and none of {' '.join(sorted(forbidden))}": (
            ".." in filename or bool(forbidden.intersection(filename))
        ),
        "hold no control characters": any(ord(character) < 32 or ord(character) == 127 for character in filename),
        f"be at most {LONGEST_NAME_BYTES} bytes long": size_bytes > LONGEST_NAME_BYTES,
        "not be a reserved name": filename in {".", CLAIM_NAME} or is_temporary(filename),
    }
    return next((rule for rule, is_broken in rules.items() if is_broken), None)
