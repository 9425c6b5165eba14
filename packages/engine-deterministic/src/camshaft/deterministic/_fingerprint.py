"""A hash of a batch, to see later whether the same batch comes again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import torch

# Of a long tensor or array, about so many elements are hashed, spread evenly.
_HASHED_ELEMENTS = 512
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
# Numbers that numpy has no type for, bfloat16 say, are read as whole numbers of the same size.
_WHOLE_OF_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Fingerprint:
    """What a batch was when it was given out.

    Tensors on the CPU, arrays and plain values are hashed at once, so that it does not matter who changes them
    afterwards, or how. Long ones are hashed in part, which takes some microseconds. Tensors on an accelerator are
    hashed when the text is asked for: torch notes every change in place of those. Of other objects, only the type
    counts.

    Args:
        batch: any nested value.

    Examples:
        >>> batch = {"x": torch.zeros(3), "y": np.zeros(3)}
        >>> taken = Fingerprint(batch)
        >>> batch["y"] += 1
        >>> taken.text() == Fingerprint({"x": torch.zeros(3), "y": np.zeros(3)}).text()
        True
        >>> taken.text() == Fingerprint(batch).text()
        False
    """

    __slots__ = ("_hasher", "_on_device", "_versions")

    def __init__(self, batch: Any) -> None:
        self._hasher = blake2b(digest_size=8)
        self._on_device: list[torch.Tensor] = []
        for leaf in _leaves(batch):
            if isinstance(leaf, torch.Tensor):
                self._on_device.append(leaf)
            else:
                self._hasher.update(leaf)
                self._hasher.update(b";")
        self._versions = _versions(self._on_device)

    def text(self) -> str | None:
        """Return the hash; None if a tensor on an accelerator was changed in place, or if torch cannot tell."""
        if self._versions is None or _versions(self._on_device) != self._versions:
            return None
        hasher = self._hasher.copy()
        for tensor in self._on_device:
            hasher.update(_bytes_of(_sampled(tensor.detach()).cpu()))
        return hasher.hexdigest()


def _leaves(value: Any) -> Iterator[bytes | torch.Tensor]:
    """Yield what stands for the parts of a nested value: bytes, and tensors that are not on the CPU."""
    if isinstance(value, torch.Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        yield _bytes_of(value) if value.device.type == "cpu" or value.layout != torch.strided else value
    elif isinstance(value, _PLAIN):
        yield repr(value).encode()
    elif isinstance(value, np.ndarray | np.generic):
        yield from _leaves_of_array(np.asarray(value))
    elif isinstance(value, Mapping):
        for key in value:
            yield repr(key).encode()
            yield from _leaves(value[key])
    elif isinstance(value, list | tuple):
        yield str(len(value)).encode()
        for item in value:
            yield from _leaves(item)
    else:
        yield type(value).__qualname__.encode()
        for field in fields(value) if is_dataclass(value) and not isinstance(value, type) else ():
            yield from _leaves(getattr(value, field.name))


def _leaves_of_array(array: np.ndarray[Any, Any]) -> Iterator[bytes | torch.Tensor]:
    yield f"{array.dtype}{array.shape}".encode()
    if array.dtype.hasobject:
        yield from _leaves(array.flat[:: _step(array.size)].tolist())
    else:
        yield _bytes_of_array(array)


def _bytes_of_array(array: np.ndarray[Any, Any]) -> bytes:
    step = _step(array.size)
    sample: bytes = array.tobytes() if step == 1 else array.flat[::step].tobytes()
    return sample


def _bytes_of(tensor: torch.Tensor) -> bytes:
    """Return the numbers of a tensor on the CPU, of a long one in part."""
    if tensor.layout != torch.strided or tensor.is_quantized:
        return repr(tensor).encode()
    tensor = tensor.detach().as_subclass(torch.Tensor)
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return _bytes_of_array(tensor.resolve_neg().view(_WHOLE_OF_SIZE[tensor.element_size()]).numpy())


def _sampled(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1)[:: _step(tensor.numel())]


def _step(count: int) -> int:
    """Return how far apart the hashed elements are: an odd number, or all of them might be of one column."""
    return max(1, count // _HASHED_ELEMENTS) | 1


def _versions(tensors: list[torch.Tensor]) -> list[int] | None:
    if any(tensor.is_inference() for tensor in tensors):  # these have no version
        return None
    return [tensor._version for tensor in tensors]  # noqa: SLF001  # torch documents it, under this name
