"""Finding out whether a file that was just written will load without being trusted."""

from __future__ import annotations

import io
import os
import zipfile
from typing import TYPE_CHECKING, Any

from camshaft.handlers.checkpoint._errors import CheckpointError
from camshaft.handlers.checkpoint.format._archive import LOCAL_MARK, PICKLE
from camshaft.handlers.checkpoint.format._checksum import read_at
from camshaft.handlers.checkpoint.format._payload import first_line, load_quietly, require_torch
from camshaft.handlers.checkpoint.format._pickle_check import require_bounded_memory
from camshaft.handlers.checkpoint.format._pickle_names import names_in_pickle
from camshaft.handlers.checkpoint.format._safetensors import HEAD_BYTES, starts_like_tensors
from camshaft.handlers.checkpoint.format._verify import opened, read_pickle

if TYPE_CHECKING:
    from types import ModuleType


def unsafe_keys(path: str | os.PathLike[str], payload: Any) -> dict[str, str] | None:
    """Find what keeps a file that was just written from loading without `trusted=True`.

    Args:
        path: The file.
        payload: What was written into it.

    Returns:
        The reason by key of the payload, under ``""`` if no single key is to blame; None when the
        file loads safely.
    """
    torch = require_torch()
    try:
        with opened(path, trusted=True) as descriptor:
            start = read_at(descriptor, 0, HEAD_BYTES + 1)
            if starts_like_tensors(start, os.fstat(descriptor).st_size):
                return None
            if start[: len(LOCAL_MARK)] != LOCAL_MARK:
                return {"": "it is no archive, so its structure cannot be verified"}
            pickled = read_pickle(descriptor)
    except (CheckpointError, OSError):  # what was written cannot be read just now, which says nothing of it
        return None
    try:
        require_bounded_memory(pickled)
    except CheckpointError as error:
        return {"": str(error)}
    return None if _names_safe_classes_only(torch, pickled) else _find_unsafe_keys(torch, path, payload)


def _names_safe_classes_only(torch: ModuleType, pickled: bytes) -> bool:
    """Return whether all classes and functions in a pickle are such as `torch.load` lets through.

    Loading the file would tell, too, and takes several times as long as saving it when the tensors are many.
    """
    found = names_in_pickle(pickled)
    if found is None:  # loading the file will tell
        return False
    names = b"".join(f"c{module}\n{name}\n".encode() for module, name in found)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as entries:
        # A list of the classes and nothing else.
        entries.writestr(f"archive/{PICKLE}", b"\x80\x02](" + names + b"e.")
        entries.writestr("archive/version", "3\n")
    archive.seek(0)
    return not torch.serialization.get_unsafe_globals_in_checkpoint(archive)


def _find_unsafe_keys(torch: ModuleType, path: str | os.PathLike[str], payload: Any) -> dict[str, str] | None:
    """Load the file, and, if that is refused, each part of it by itself."""
    problem = _loading_problem(torch, path, mmap=True)
    if problem is None:
        return None
    parts = payload.items() if isinstance(payload, dict) else ()
    reasons = {str(key): _problem_of_part(torch, value) for key, value in parts}
    return {key: reason for key, reason in reasons.items() if reason is not None} or {"": problem}


def _problem_of_part(torch: ModuleType, value: Any) -> str | None:
    part = io.BytesIO()
    with torch.serialization.skip_data():  # neither written nor read: the structure tells
        try:
            torch.save(value, part)
        except Exception:  # noqa: BLE001 - it can be saved once only, or with other options: then nobody knows the key
            return None
        part.seek(0)
        return _loading_problem(torch, part)


def _loading_problem(torch: ModuleType, source: Any, *, mmap: bool = False) -> str | None:
    try:
        load_quietly(torch, source, weights_only=True, map_location="cpu", mmap=mmap)
    except OSError:
        return None
    except Exception as error:  # noqa: BLE001 - the file was saved; whatever keeps it from loading is reported, not raised
        # Not every file system can map files into memory.
        return _loading_problem(torch, source) if mmap and isinstance(error, RuntimeError) else first_line(error)
    return None
