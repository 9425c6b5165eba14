"""Tensors and arrays in a form that a checkpoint takes."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha1
from typing import Any

import numpy as np
import torch
from numpy.lib.format import descr_to_dtype, dtype_to_descr

PLAIN = (bool, int, float, str, type(None))
MOST = 1 << 21  # numbers; a longer value is data, and no memory
_OBJECTS = "objects"


class NotKept(Exception):  # noqa: N818  # an answer and no error: it leaves this package never
    """A value is of a type that is not kept, or too long."""


def read_whole(value: Any) -> tuple[Any, ...] | None:
    """Return what changes with any number of a tensor or an array; None of those that only a part is read of.

    Of the weights of samples a few change at a time.
    """
    if isinstance(value, torch.Tensor) and _is_plain(value) and value.numel() <= MOST:
        numbers = value.detach().as_subclass(torch.Tensor).reshape(-1).contiguous().view(torch.uint8).numpy()
        return value.dtype, value.shape, _hash(numbers)
    if isinstance(value, np.ndarray) and value.size <= MOST and value.dtype.kind in "biufmM":
        return value.dtype.str, value.shape, _hash(np.ascontiguousarray(value).view(np.uint8))
    return None


def _hash(numbers: Any) -> bytes:
    return sha1(numbers, usedforsecurity=False).digest()  # processors have instructions for it: the quickest there is


def _is_plain(tensor: torch.Tensor) -> bool:
    is_dense = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_nested
    is_stored = type(tensor).__torch_dispatch__ is torch.Tensor.__torch_dispatch__
    return is_dense and is_stored and not (tensor.is_complex() or tensor.is_quantized or tensor.is_neg())


def keep_tensor(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy of a tensor on the CPU.

    Raises:
        NotKept: it has no numbers that could be copied one by one.
    """
    is_plain = type(tensor).__torch_dispatch__ is torch.Tensor.__torch_dispatch__
    if tensor.requires_grad:  # it may be one that is trained, and no memory
        raise NotKept
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested or tensor.is_meta or not is_plain:
        raise NotKept
    return tensor.detach().as_subclass(torch.Tensor).cpu().clone()


def keep_array(array: np.ndarray[Any, Any], keep: Callable[[Any], Any]) -> list[Any]:
    """Return the type, the shape and the bytes of an array; of one of objects, these.

    Args:
        array: the array.
        keep: keeps an object.

    Raises:
        NotKept: its type cannot be written.
    """
    if array.dtype == object:
        return [_OBJECTS, list(array.shape), [keep(item) for item in array.reshape(-1)]]
    if array.dtype.hasobject or array.dtype.kind == "T":
        raise NotKept
    try:
        described = dtype_to_descr(array.dtype)
        is_same = descr_to_dtype(described) == array.dtype
    except (TypeError, ValueError) as error:
        raise NotKept from error
    if not is_same:
        raise NotKept
    return [described, list(array.shape), array_of_bytes(array.tobytes())]


def give_array(content: list[Any], give_back: Callable[[Any], Any]) -> np.ndarray[Any, Any]:
    """Return a new array like the one that was kept."""
    dtype, shape, raw = content
    if dtype != _OBJECTS:
        return np.frombuffer(bytes_of(raw), dtype=descr_to_dtype(dtype)).reshape(shape).copy()
    array = np.empty(len(raw), dtype=object)
    for number, item in enumerate(raw):
        array[number] = give_back(item)
    return array.reshape(shape)


def array_of_bytes(raw: bytes | bytearray) -> torch.Tensor:
    """Return bytes as a tensor, which a checkpoint takes."""
    return torch.from_numpy(np.frombuffer(raw, dtype=np.uint8).copy())


def bytes_of(kept: torch.Tensor) -> bytes:
    """Return the bytes of `array_of_bytes`."""
    return kept.numpy().tobytes()
