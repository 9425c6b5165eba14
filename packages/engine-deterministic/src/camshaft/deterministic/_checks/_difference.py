"""The first part in which two nested values differ."""

from __future__ import annotations

import copy
import dataclasses
import io
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from camshaft.deterministic._fingerprint import sparse_parts
from camshaft.deterministic._inside import attributes_of, is_of_user, key_text

# Objects are looked into so deep: some lead back to where they came from.
_MOST_DEEP = 12


def find_difference(first: Any, second: Any, where: str, depth: int = 0) -> tuple[str, str, str] | None:
    """Return the first part in which two samples differ: its place and both values, as text; None if there is none.

    Of values that can neither be looked into nor pickled, a lock or a generator say, the type counts.

    Args:
        first: a sample.
        second: what it is compared with.
        where: how the two are reached, as text that the place begins with; "" at the top.
        depth: how deep they are.
    """
    if type(first) is not type(second):
        return where, short_text(first), short_text(second)
    parts = parts_or_attributes(first, depth), parts_or_attributes(second, depth)
    if parts[0] is None or parts[1] is None:
        return None if _is_equal(first, second) else _first_row(first, second, where)
    if list(parts[0]) != list(parts[1]):
        return where, short_text(first), short_text(second)
    found = (find_difference(part, parts[1][name], where + name, depth + 1) for name, part in parts[0].items())
    return next((each for each in found if each is not None), None)


def _first_row(first: Any, second: Any, where: str) -> tuple[str, str, str]:
    """Return the first row in which two tensors or arrays differ: of a batch, the sample."""
    has_rows = isinstance(first, torch.Tensor | np.ndarray) and first.ndim > 0 and first.shape == second.shape
    if has_rows and first.dtype == second.dtype:
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            if not _is_equal(one, other):
                return f"{where}[{number}]", short_text(one), short_text(other)
    return where, short_text(first), short_text(second)


def parts_of(value: Any) -> dict[str, Any] | None:
    """Return the parts of a container by how they are reached, None for a value without parts."""
    if isinstance(value, Mapping):
        return {f"[{key_text(key, number)}]": part for number, (key, part) in enumerate(value.items())}
    if isinstance(value, np.ndarray | np.void) and value.dtype.names is not None:
        return {f"[{name!r}]": value[name] for name in value.dtype.names}  # not the bytes between the fields
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return parts_of(value.tolist())
    if isinstance(value, list | tuple):
        return {f"[{number}]": part for number, part in enumerate(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f".{field.name}": getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _is_equal(first: Any, second: Any) -> bool:
    if isinstance(first, torch.Tensor):
        is_alike = first.dtype == second.dtype and (first.is_nested or first.shape == second.shape)
        return bool(is_alike) and first.is_nested == second.is_nested and bytes_of(first) == bytes_of(second)
    if isinstance(first, np.ndarray | np.generic):
        return bool(first.dtype == second.dtype and first.shape == second.shape) and first.tobytes() == second.tobytes()
    return pickled(first) == pickled(second)


def pickled(value: Any) -> bytes:
    """Return a value as `pickle` writes it, the same for equal tensors; nothing for one that cannot be pickled."""
    buffer = io.BytesIO()
    try:
        _Pickler(buffer).dump(value)
    except Exception:  # noqa: BLE001  # whatever the user's class raises; nothing is known of it then
        return b""
    return buffer.getvalue()


class _Pickler(pickle.Pickler):
    """Writes of tensors the numbers, not where they lie in memory."""

    def reducer_override(self, value: Any) -> Any:
        return (bytes, (bytes_of(value),)) if isinstance(value, torch.Tensor) else NotImplemented


def parts_or_attributes(value: Any, depth: int) -> dict[str, Any] | None:
    """Return the parts of a container, or the attributes of an object of the user's."""
    parts = parts_of(value) if depth < _MOST_DEEP else {}
    if parts is not None or not is_of_user(value) or isinstance(value, type | torch.Tensor | np.ndarray):
        return parts
    return {f".{name}": part for name, part in attributes_of(value).items()} or None


def copy_of(value: Any) -> Any:
    """Return a copy to compare with later: of tensors in any layout, and of objects that nothing else can copy."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if type(value) in (list, tuple):
        return type(value)(map(copy_of, value))
    if type(value) is dict:
        return {key: copy_of(part) for key, part in value.items()}
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001  # whatever a part of it raises
        return _copy_attributes(value)


def _copy_attributes(value: Any) -> Any:
    """Return an object of the same class with copies of the attributes; itself, where that is not possible."""
    if not is_of_user(value):
        return value
    try:
        new = object.__new__(type(value))
        for name, part in attributes_of(value).items():
            object.__setattr__(new, name, copy_of(part))
    except (TypeError, AttributeError):
        return value
    return new


def bytes_of(tensor: torch.Tensor) -> bytes:
    """Return the numbers of a tensor; of a sparse one, its indices, too; of a nested one, those of all its parts."""
    if tensor.is_nested:
        return b"".join(f"{tuple(part.shape)}".encode() + bytes_of(part) for part in tensor.detach().unbind())
    if tensor.is_meta:  # it has no numbers
        return b""
    tensor = tensor.detach().cpu()
    if tensor.is_quantized:
        return repr(tensor).encode()
    if tensor.layout != torch.strided:
        return b"".join(map(bytes_of, sparse_parts(tensor)))
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.resolve_neg().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def short_text(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
