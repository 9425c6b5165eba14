"""A hash of a batch, to see later whether the same batch comes again."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property
from hashlib import blake2b
from heapq import nsmallest
from typing import Any, TypeAlias

import numpy as np
import torch

from camshaft.deterministic._inside import attributes_of, is_of_user, refuses

# Of a long tensor, array, text or bytes, about so many elements are read, spread evenly; of a long list, so many items,
# and of a long dict those under so many keys; of an object, so many attributes.
_READ_ELEMENTS = 512
_READ_ITEMS = 16
_READ_ATTRIBUTES = 64
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
# Numbers that numpy reads as they are, without a conjugate or negative view of them.
_AS_NUMPY = {torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool}
# Numbers that numpy has no type for, bfloat16 say, are read as whole numbers of the same size.
_WHOLE_OF_SIZE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
Leaf: TypeAlias = bytes | tuple[Any, tuple[int, ...]]  # or type and shape, of which a text is made when it is asked for


class Fingerprint:
    """What a batch was when it was given out.

    Tensors on the CPU, arrays and plain values are read at once, so that it does not matter who changes them
    afterwards, or how. Long ones are read in part, which takes some microseconds; so are long lists and dicts. Tensors
    on an accelerator are read when the text is asked for, if somebody still has them: torch notes every change in place
    of those. Of objects of the user's classes, the type counts, and the tensors and arrays in their attributes, but for
    a `cached_property`; of other objects, only the type. Of a batch that cannot be read, the text is None.

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

    __slots__ = ("_on_device", "_read")

    def __init__(self, batch: Any) -> None:
        self._read: list[Leaf] | None = []
        self._on_device: list[tuple[weakref.ref[torch.Tensor], int | None]] = []
        try:
            self._take(batch, self._read)
        except Exception:  # noqa: BLE001  # the batch is the user's, and so is what its parts raise; the run goes on
            self._read = None

    def text(self) -> str | None:
        """Return the hash; None if a tensor on an accelerator is gone or changed in place, or if torch cannot tell."""
        if self._read is None:
            return None
        leaves = [_written(*leaf) if isinstance(leaf, tuple) else leaf for leaf in self._read]
        hasher = blake2b(b";".join(leaves), digest_size=8)
        for reference, version in self._on_device:
            tensor = reference()
            if tensor is None or version is None or _version(tensor) != version:
                return None
            hasher.update(_bytes_of(_sampled(tensor.detach()).cpu()))
        return hasher.hexdigest()

    def _take(self, value: Any, read: list[Leaf]) -> None:
        """Read a value; of what batches are made of mostly, in the quickest way."""
        kind = type(value)
        if kind is torch.Tensor and value.dtype in _AS_NUMPY and (array := _array_of(value)) is not None:
            read.append((value.dtype, value.shape))
            read.append(_bytes_of_array(array))
        elif kind is np.ndarray and value.dtype.kind in "biuf":
            read.append((value.dtype, value.shape))
            read.append(_bytes_of_array(value))
        elif kind is list or kind is tuple:
            read.append(b"%d" % len(value))
            for item in value if len(value) <= _READ_ITEMS else value[:: _step(len(value), _READ_ITEMS)]:
                self._take(item, read)
        elif kind is dict:  # its order may be that of a set, which differs from process to process
            read.append(b"%d" % len(value))
            for key in _some_keys(value):
                self._take(key, read)
                self._take(value[key], read)
        elif kind is int:
            read.append(repr(value).encode())
        else:
            for leaf in _leaves(value):
                if isinstance(leaf, torch.Tensor):
                    self._on_device.append((weakref.ref(leaf), _version(leaf)))
                else:
                    read.append(leaf)


def _written(dtype: Any, shape: tuple[int, ...]) -> bytes:
    return f"{dtype}{shape}".encode()


def _array_of(tensor: torch.Tensor) -> np.ndarray[Any, Any] | None:
    """Return the numbers of a tensor, None if numpy cannot read them where they are."""
    try:
        return tensor.numpy()
    except (RuntimeError, TypeError):
        return None


def _leaves(value: Any) -> Iterator[bytes | torch.Tensor]:
    """Yield what stands for the parts of a nested value: bytes, and tensors that are not on the CPU."""
    if isinstance(value, torch.Tensor) and value.is_nested:  # whose text has a number that each gets anew
        yield from _leaves(list(value.unbind()))
    elif isinstance(value, torch.Tensor):
        yield _written(value.dtype, value.shape)
        if value.is_meta:  # it has no numbers
            return
        yield _bytes_of(value) if value.device.type == "cpu" or value.layout != torch.strided else value
    elif isinstance(value, _PLAIN):
        yield _bytes_of_plain(value)
    elif isinstance(value, np.ndarray | np.generic):
        yield from _leaves_of_array(np.asarray(value))
    elif isinstance(value, Mapping):
        yield b"%d" % len(value)
        for key in _some_keys(value):
            yield from _leaves(key)
            yield from _leaves(value[key])
    elif isinstance(value, list | tuple):
        yield b"%d" % len(value)
        for item in value[:: _step(len(value), _READ_ITEMS)]:
            yield from _leaves(item)
    else:
        yield type(value).__qualname__.encode()
        yield from _leaves_of_object(value)


def _bytes_of_plain(value: Any) -> bytes:
    if isinstance(value, bytes | str):
        return f"{len(value)} {value[:: _step(len(value))]!r}".encode("utf-8", "surrogatepass")
    return repr(value).encode()


def _leaves_of_object(value: Any) -> Iterator[bytes | torch.Tensor]:
    """Yield what is in the fields of a dataclass, and the tensors and arrays in attributes of the user's objects."""
    if isinstance(value, type):
        return
    if is_dataclass(value):
        for field in fields(value):
            yield from _leaves(getattr(value, field.name))
    elif is_of_user(value):
        parts = {name: part for name, part in attributes_of(value).items() if _is_read(value, name, part)}
        for name in sorted(parts)[:: _step(len(parts), _READ_ATTRIBUTES)]:
            yield name.encode()
            yield from _leaves(parts[name])


def _is_read(value: Any, name: str, part: Any) -> bool:
    """Return whether an attribute tells what an object is: not one that is there since somebody has asked for it."""
    is_cached = isinstance(getattr(type(value), name, None), cached_property)
    return not is_cached and not refuses(part) and isinstance(part, torch.Tensor | np.ndarray)


def _some_keys(mapping: Mapping[Any, Any]) -> list[Any]:
    """Return the keys that are read: the smallest. Their own order may be that of a set: another in each process."""
    if len(mapping) <= _READ_ITEMS:
        return list(mapping) if len(mapping) == 1 else sorted(mapping, key=repr)
    try:
        return nsmallest(_READ_ITEMS, mapping)
    except TypeError:  # keys of several types have no order of their own
        return nsmallest(_READ_ITEMS, mapping, key=repr)


def _leaves_of_array(array: np.ndarray[Any, Any]) -> Iterator[bytes | torch.Tensor]:
    yield _written(array.dtype, array.shape)
    if array.dtype.names is not None:  # by their fields: bytes between these are whatever was in memory
        for name in array.dtype.names:
            yield from _leaves_of_array(array[name])
    elif array.dtype.hasobject:
        yield from _leaves(array.reshape(-1)[:: _step(array.size)].tolist())
    else:
        yield _bytes_of_array(array)


def _bytes_of_array(array: np.ndarray[Any, Any]) -> bytes:
    step = _step(array.size)
    if step > 1:
        array = array.reshape(-1)[::step] if array.flags.c_contiguous else array.flat[::step]
    return array.tobytes()


def _bytes_of(tensor: torch.Tensor) -> bytes:
    """Return the numbers of a tensor on the CPU, of a long one in part."""
    if tensor.layout != torch.strided:
        return b";".join(map(_bytes_of, sparse_parts(tensor)))
    if tensor.is_quantized:
        return repr(tensor).encode()
    if type(tensor) is torch.Tensor and tensor.dtype in _AS_NUMPY and not (tensor.requires_grad or tensor.is_neg()):
        return _bytes_of_array(tensor.numpy())
    tensor = tensor.detach().as_subclass(torch.Tensor)
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return _bytes_of_array(tensor.resolve_neg().view(_WHOLE_OF_SIZE[tensor.element_size()]).numpy())


def sparse_parts(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Return the tensors that a sparse one is made of."""
    tensor = tensor.detach()
    if tensor.layout == torch.sparse_coo:
        tensor = tensor.coalesce()
        return [tensor.indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
        return [tensor.crow_indices(), tensor.col_indices(), tensor.values()]
    if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
        return [tensor.ccol_indices(), tensor.row_indices(), tensor.values()]
    return [tensor.to_dense()]


def _sampled(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.reshape(-1)[:: _step(tensor.numel())]


def _step(count: int, at_most: int = _READ_ELEMENTS) -> int:
    """Return how far apart the elements are that are read: an odd number, or all of them might be of one column."""
    return max(1, count // at_most) | 1


def _version(tensor: torch.Tensor) -> int | None:
    if tensor.is_inference():  # these have none
        return None
    return tensor._version  # noqa: SLF001  # torch documents it, under this name
