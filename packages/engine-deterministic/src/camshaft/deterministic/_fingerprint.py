"""A hash of a batch, to see later whether the same batch comes again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import torch

# Of a tensor, so many bytes from its beginning and from its end are hashed.
_HASHED_BYTES = 1 << 16
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


class Fingerprint:
    """What a batch was when it was given out: hashed when it is asked for, if nobody has changed it since.

    Taking it costs next to nothing: it refers to the batch and notes the versions of its tensors, which torch
    raises at every change in place. Of other objects than tensors and plain values, only the type counts.

    Args:
        batch: any nested value.

    Examples:
        >>> batch = torch.zeros(3)
        >>> taken = Fingerprint(batch)
        >>> taken.text() == Fingerprint(torch.zeros(3)).text()
        True
        >>> _ = batch.add_(1)
        >>> taken.text() is None
        True
    """

    __slots__ = ("_leaves", "_versions")

    def __init__(self, batch: Any) -> None:
        self._leaves = list(_leaves(batch))
        self._versions = _versions(self._leaves)

    def text(self) -> str | None:
        """Return the hash; None if a tensor was changed in place, or if torch cannot tell."""
        if self._versions is None or _versions(self._leaves) != self._versions:
            return None
        hasher = blake2b(digest_size=8)
        for leaf in self._leaves:
            if isinstance(leaf, torch.Tensor):
                hasher.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
                hasher.update(_bytes_of(leaf))
            else:
                hasher.update(repr(leaf).encode())
            hasher.update(b";")
        return hasher.hexdigest()


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (torch.Tensor, *_PLAIN)):
        yield value
    elif isinstance(value, Mapping):
        for key in value:
            yield repr(key)
            yield from _leaves(value[key])
    elif isinstance(value, list | tuple):
        yield len(value)
        for item in value:
            yield from _leaves(item)
    else:
        yield type(value).__qualname__


def _versions(leaves: list[Any]) -> list[int] | None:
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    if any(tensor.is_inference() for tensor in tensors):  # these have no version
        return None
    return [tensor._version for tensor in tensors]  # noqa: SLF001  # torch documents it, under this name


def _bytes_of(tensor: torch.Tensor) -> bytes:
    if tensor.layout != torch.strided:
        return repr(tensor).encode()
    flat = tensor.detach().reshape(-1)
    count = max(1, _HASHED_BYTES // max(1, tensor.element_size()))
    ends = flat if len(flat) <= 2 * count else torch.cat([flat[:count], flat[-count:]])
    return ends.cpu().contiguous().view(torch.uint8).numpy().tobytes()
