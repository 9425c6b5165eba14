"""Writing a payload to a file and reading it back, with `torch.save` and `torch.load`."""

from __future__ import annotations

import contextvars
import functools
import io
import os
import pickle
import sys
import warnings
from typing import TYPE_CHECKING, Any

from camshaft.engine import ArgumentError, ArgumentTypeError, EngineWarning
from camshaft.handlers._errors import ExtraMissingError
from camshaft.handlers.checkpoint._deferred_signals import deferred_signals
from camshaft.handlers.checkpoint._errors import (
    CheckpointDamagedError,
    CheckpointError,
    CheckpointUnsafeError,
)
from camshaft.handlers.checkpoint.format._archive import PICKLE
from camshaft.handlers.checkpoint.format._checksum import read_at
from camshaft.handlers.checkpoint.format._pickle_check import require_bounded_memory
from camshaft.handlers.checkpoint.format._record import encode_record
from camshaft.handlers.checkpoint.format._safetensors import has_tensors_name, read_tensors, write_tensors
from camshaft.handlers.checkpoint.format._verify import Contents, opened, verify_open
from camshaft.handlers.checkpoint.format._writer import CheckpointWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    from camshaft.handlers.checkpoint.format._record import CheckpointRecord

SAVE_OPTIONS = frozenset(
    {"pickle_module", "pickle_protocol", "_use_new_zipfile_serialization", "_disable_byteorder_record"}
)
_FIRST_SAFE_TORCH = (2, 10)  # CVE-2026-24747: before it a file could corrupt memory in spite of weights_only


def require_torch() -> ModuleType:
    """Return the module `torch`.

    Raises:
        ExtraMissingError: it is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ExtraMissingError("torch", "saving and loading checkpoint files", "torch") from error
    return torch


def require_save_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options if `torch.save` takes them.

    Raises:
        ArgumentTypeError: it does not.
    """
    unknown = sorted(set(options) - SAVE_OPTIONS)
    if unknown:
        raise ArgumentTypeError(
            f"`kwargs` must be arguments of torch.save, got {unknown}; it has {sorted(SAVE_OPTIONS)}"
        )
    return dict(options)


def write_payload(
    descriptor: int,
    payload: Any,
    record: CheckpointRecord,
    options: Mapping[str, Any],
    filename: str = "",
    *,
    one_thread: bool = False,
) -> int:
    """Write a payload and its record to an open file, and return how many bytes that were.

    Args:
        descriptor: Where to write.
        payload: What `torch.save` can save; tensors by name for a file of tensors alone.
        record: What the file shall say about itself.
        options: For `torch.save`.
        filename: What the file will be called, which decides about its format.
        one_thread: Whether to sum up the checksum in this thread too: none can be started when Python is ending.

    Raises:
        OSError: the file could not be written.
        ArgumentError: this process does not write what lies on XLA devices.
        ArgumentTypeError: a file of tensors alone cannot hold it.
    """
    if has_tensors_name(filename):
        return write_tensors(descriptor, payload, record)
    with CheckpointWriter(descriptor, one_thread=one_thread) as writer:
        try:
            _without_archive_checksums(lambda: _save(payload, writer, options))
        except BaseException:
            writer.raise_error()  # what has come up first
            raise
        if writer.is_empty:
            raise ArgumentError("`save_on_rank` must be 0 on XLA devices, got another rank; only the first one writes")
        writer.finish(encode_record(record))
    return writer.size_bytes


def write_nothing(payload: Any) -> None:
    """Take part in saving on an XLA device in a process that writes no file."""
    _save(payload, io.BytesIO(), {})


def read_payload(
    path: str | os.PathLike[str], *, trusted: bool = False, map_location: Any = "cpu"
) -> tuple[Any, Contents]:
    """Verify a file, then unpickle it: tensors, numbers, strings, lists and dicts only, unless trusted.

    Raises:
        CheckpointDamagedError: the file is not what was written.
        CheckpointUnsafeError: the file would have to be trusted.
        OSError: the file cannot be read.
        ExtraMissingError: PyTorch is not installed.
    """
    require_torch()
    with opened(path, trusted=trusted) as descriptor:
        return read_open(descriptor, path, trusted=trusted, map_location=map_location)


def read_open(
    descriptor: int, path: str | os.PathLike[str], *, trusted: bool = False, map_location: Any = "cpu"
) -> tuple[Any, Contents]:
    """Do what `read_payload` does to a file that is open already; `path` is what messages call it."""
    torch = require_torch()
    contents = verify_open(descriptor, path, trusted=trusted)
    if contents.head is not None:
        try:
            return read_tensors(descriptor, contents.head, map_location), contents
        except CheckpointDamagedError as error:
            raise CheckpointDamagedError(f"{os.fspath(path)}: {error}") from error
    if not trusted:
        _warn_of_unsafe_torch(torch)
        _check_pickle(descriptor, contents, path)
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return _load(torch, file, path, trusted=trusted, map_location=map_location), contents


def _save(payload: Any, file: Any, options: Mapping[str, Any]) -> None:
    if holds_xla_tensors(payload):
        import torch_xla.core.xla_model as xla

        # All processes have to come here: it gathers and synchronises; the first one writes.
        xla.save(payload, file, master_only=True, global_master=True)
        return
    require_torch().save(payload, file, **options)


def holds_xla_tensors(payload: Any) -> bool:
    """Return whether a tensor somewhere in a nested payload lies on an XLA device."""
    if "torch_xla" not in sys.modules:
        return False
    if isinstance(payload, dict):
        return any(holds_xla_tensors(value) for value in payload.values())
    if isinstance(payload, list | tuple):
        return any(holds_xla_tensors(value) for value in payload)
    return getattr(getattr(payload, "device", None), "type", None) == "xla"


def _without_archive_checksums(save: Callable[[], None]) -> None:
    """Save without the checksums of `torch.save`, which cost more than the disk: there is our own.

    PyTorch keeps the option that switches them off by context, so it is set in a context of its own and nobody else
    ever sees it. Where it is kept for the whole process it stays as it is, and saving takes longer.
    """
    if _has_options_by_context():
        contextvars.copy_context().run(_switch_off_and_save, save)
    else:
        save()


def _switch_off_and_save(save: Callable[[], None]) -> None:
    require_torch().serialization.set_crc32_options(False)
    save()


@functools.cache
def _has_options_by_context() -> bool:
    """Return whether an option that is set in a context is not seen outside of it."""
    serialization = require_torch().serialization
    with deferred_signals():
        before = serialization.get_crc32_options()
        contextvars.copy_context().run(serialization.set_crc32_options, not before)
        if serialization.get_crc32_options() == before:
            return True
        serialization.set_crc32_options(before)
        return False


def _check_pickle(descriptor: int, contents: Contents, path: str | os.PathLike[str]) -> None:
    entry = contents.entries[PICKLE]
    try:
        require_bounded_memory(read_at(descriptor, entry.start, entry.end - entry.start))
    except CheckpointError as error:
        raise type(error)(f"{os.fspath(path)}: {error}") from error


def _load(torch: ModuleType, file: Any, path: str | os.PathLike[str], *, trusted: bool, map_location: Any) -> Any:
    try:
        return load_quietly(torch, file, map_location=map_location, weights_only=not trusted)
    except pickle.UnpicklingError as error:
        if trusted:
            raise CheckpointDamagedError(f"{os.fspath(path)}: {first_line(error)}") from error
        raise CheckpointUnsafeError(
            f"{os.fspath(path)}: {first_line(error)}; if you know where the file comes from, give trusted=True"
        ) from error
    except (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, TypeError, ValueError) as error:
        if trusted:
            raise
        raise CheckpointDamagedError(f"{os.fspath(path)}: {first_line(error)}") from error
    except RuntimeError as error:
        if trusted or str(map_location) != "cpu":  # then the device may be to blame
            raise
        raise CheckpointDamagedError(f"{os.fspath(path)}: {first_line(error)}") from error


def load_quietly(torch: ModuleType, source: Any, **options: Any) -> Any:
    """Load without the warning that another pickle protocol than torch's own may not load: it does, or raises."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
        return torch.load(source, **options)


def first_line(error: Exception) -> str:
    """Return what torch says went wrong, without its advice before and after it."""
    text = str(error)
    lines = (text.partition("Unpickler error:")[2] or text).split("\n")
    told = [line.strip() for line in lines if line.strip()] or [repr(error)]
    return told[0].partition(". Please use ")[0][:300]


def _warn_of_unsafe_torch(torch: ModuleType) -> None:
    version = tuple(int(part) for part in str(torch.__version__).split("+")[0].split(".")[:2])
    if version < _FIRST_SAFE_TORCH:
        warnings.warn(
            f"torch {torch.__version__} can be harmed by a file although it loads weights only (CVE-2026-24747); "
            "update to 2.10 or later before you load files of others",
            EngineWarning,
            stacklevel=2,
        )
