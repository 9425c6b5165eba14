"""Values without parts as an audit compares them: a hash of each, and what people see of it."""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import suppress
from hashlib import blake2b
from types import GeneratorType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch

from camshaft.deterministic._checks._difference import bytes_of, parts_or_attributes, pickled, short_text
from camshaft.deterministic._memory._kept_value import has_value, token_of

PLAIN = (bool, int, float, complex, str, bytes, type(None))
_OF_PYTHON = ("builtins", "itertools")


class Leaf(NamedTuple):
    """A value without parts.

    Attributes:
        digest: a hash of it.
        text: what people see of it.
    """

    digest: str
    text: str


Leaves: TypeAlias = dict[str, Leaf]


def leaves_of(value: Any, where: str = "") -> Leaves:
    """Return the parts of a nested value by how they are reached.

    Args:
        value: tensors, arrays, plain values, containers of them, objects of the user's classes. Anything else is
            pickled; the type counts where that cannot be done, as for a lock.
        where: text that the places begin with.
    """
    return {place: leaf_of(part) for place, part in _flat(value, where, 0)}


def leaf_of(value: Any) -> Leaf:
    """Return what stands for one value; of one that cannot even be pickled, for its type."""
    if isinstance(value, torch.Tensor):
        return Leaf(_hash(f"{value.dtype} {_shape(value)} ", bytes_of(value)), _text_of_numbers(value))
    if isinstance(value, np.ndarray):
        content = repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes()
        return Leaf(_hash(f"{value.dtype} {value.shape} ", content), _text_of_numbers(value))
    if isinstance(value, (*PLAIN, np.generic)):
        return Leaf(_hash(f"{type(value).__name__} {value!r}"), short_text(value))
    if has_value(value):
        text = f"{len(value)} items" if isinstance(value, Sized) else short_text(value)
        return Leaf(_hash(repr(token_of(value))), text)
    return Leaf(_hash(type(value).__qualname__, pickled(value)), f"a {type(value).__qualname__}")


def leaf_of_generator(generator: Any) -> Leaf:
    """Return what stands for a random generator: its state."""
    read: Callable[[], Any] | None = getattr(generator, "get_state", None) or getattr(generator, "getstate", None)
    state = generator.bit_generator.state if read is None else read()
    return Leaf(_hash(repr(state.tolist() if isinstance(state, torch.Tensor) else _listed(state))), "its state")


def leaf_of_iterator(iterator: Any) -> Leaf | None:
    """Return what stands for where an iterator of Python's stands; None for anything else, or if it does not say."""
    if isinstance(iterator, GeneratorType):
        frame = iterator.gi_frame
        place = "at its end" if frame is None else f"at line {frame.f_lineno}"
        return Leaf(_hash(f"{place} {None if frame is None else frame.f_lasti}"), place)
    if type(iterator).__module__ not in _OF_PYTHON or not hasattr(type(iterator), "__next__"):
        return None
    if isinstance(iterator, itertools.count):
        return Leaf(_hash(repr(iterator)), repr(iterator))
    left = -1
    with suppress(TypeError):  # that the length of what is inside is not known
        left = operator.length_hint(iterator, -1)
    return None if left < 0 else Leaf(_hash(f"{left} left"), f"{left} left")


def differing(before: Leaves, after: Leaves) -> list[str]:
    """Return the places that differ, those in one list as one."""
    return without_numbers([place for place in {**before, **after} if before.get(place) != after.get(place)])


def without_numbers(places: Iterable[str]) -> list[str]:
    """Return the places, those in one list as one, its length included."""
    names = dict.fromkeys(re.sub(r"(\[\d+\])+$", "", place) for place in places)
    return [name for name in names if not (name.startswith("len(") and name[len("len(") : -1] in names)]


def _flat(value: Any, where: str, depth: int) -> Iterator[tuple[str, Any]]:
    parts = parts_or_attributes(value, depth)
    if parts is None:
        yield where, value
        return
    for name, part in parts.items():
        yield from _flat(part, where + name, depth + 1)


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _listed(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_listed(part) for part in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def _shape(tensor: torch.Tensor) -> Any:
    return "nested" if tensor.is_nested else tuple(tensor.shape)


def _text_of_numbers(value: Any) -> str:
    """Return the number, or the shape and the first numbers; cheap, unlike the text that torch makes."""
    is_tensor = isinstance(value, torch.Tensor)
    if is_tensor and (value.is_nested or value.layout != torch.strided or value.is_meta):
        return f"a tensor, {str(value.layout).removeprefix('torch.')}, of shape {_shape(value)}"
    if value.ndim == 0:
        return short_text(value.item())
    first = value.detach().flatten()[:3].tolist() if is_tensor else value.flat[:3].tolist()
    numbers = ", ".join(f"{each:.6g}" if isinstance(each, float) else str(each) for each in first)
    more = ", ..." if (value.numel() if is_tensor else value.size) > 3 else ""
    return f"[{numbers}{more}] of shape {tuple(value.shape)}"


def _hash(text: str, content: bytes = b"") -> str:
    hasher = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8)
    hasher.update(content)
    return hasher.hexdigest()
