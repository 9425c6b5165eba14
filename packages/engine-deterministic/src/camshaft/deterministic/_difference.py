"""The first part in which two nested values differ."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def find_difference(first: Any, second: Any, where: str) -> tuple[str, str, str] | None:
    """Return the first part in which two samples differ: its place and both values, as text; None if there is none.

    Args:
        first: a sample.
        second: what it is compared with.
        where: how the two are reached, as text that the place begins with; "" at the top.
    """
    if type(first) is not type(second):
        return where, short_text(first), short_text(second)
    parts = parts_of(first), parts_of(second)
    if parts[0] is None or parts[1] is None:
        return None if _is_equal(first, second) else _first_row(first, second, where)
    if list(parts[0]) != list(parts[1]):
        return where, short_text(first), short_text(second)
    found = (find_difference(part, parts[1][name], where + name) for name, part in parts[0].items())
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
        return {f"[{key!r}]": part for key, part in value.items()}
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
    return pickle.dumps(first) == pickle.dumps(second)


def bytes_of(tensor: torch.Tensor) -> bytes:
    """Return the numbers of a tensor; of a sparse one the dense numbers, of a nested one those of all its parts."""
    if tensor.is_nested:
        return b"".join(f"{tuple(part.shape)}".encode() + bytes_of(part) for part in tensor.detach().unbind())
    tensor = tensor.detach().cpu()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.resolve_neg().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def short_text(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
