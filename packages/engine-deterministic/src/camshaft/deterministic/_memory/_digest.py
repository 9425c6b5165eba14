"""A hash of everything that a value leads to, whatever its type: equal in two processes where it stands alike."""

from __future__ import annotations

import gc
import operator
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextvars import ContextVar
from enum import Enum
from hashlib import blake2b
from itertools import islice
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from camshaft.deterministic._fingerprint import Fingerprint
from camshaft.deterministic._inside import GENERATORS, attributes_of, is_pickled_in_its_own_way, refuses
from camshaft.deterministic._memory._kept_array import read_whole
from camshaft.engine import Engine, has_state

# So many parts are read, of a long list so many items, and so far down; the rest counts by its type.
_MOST_PARTS = 300
_MOST_ITEMS = 64
_MOST_DEEP = 16
_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_COLLECTIONS: tuple[Any, ...] = (list, tuple, set, frozenset, deque, OrderedDict, dict)
_OF_PYTHON = ("builtins", "itertools")
_SHOWING = ("tqdm", "rich", "tensorboard", "logging")  # bars and logs: nothing depends on them
# What is seeded, saved by others, or leads anywhere.
_CLOSED = (
    *GENERATORS, DataLoader, _BaseDataLoaderIter, Engine, ModuleType, type, BuiltinFunctionType, torch.nn.Module,
    torch.UntypedStorage, torch.TypedStorage,
)  # fmt: skip


def digest_of(value: Any, closed: frozenset[int] = frozenset()) -> str | None:
    """Return a hash of a value and of what it leads to: attributes, items, what it would be pickled by, variables.

    Which object something is does not count, nor the order of a set or a dict. Of data only a part is read. Generators
    of random numbers, loaders, modules, engines, and what has a state of its own count by their types.

    Args:
        value: anything.
        closed: ids of objects that count by their types.

    Returns:
        The hash; None if the value cannot be read.

    Examples:
        >>> from queue import Queue
        >>> one, other = Queue(), Queue()
        >>> digest_of(one) == digest_of(other)
        True
        >>> one.put(1)
        >>> digest_of(one) == digest_of(other)
        False
    """
    try:
        return _Reader(closed).hash(value, 0).hex()
    except Exception:  # noqa: BLE001  # the value is the user's, and so is what its parts raise when they are read
        return None


class _Reader:
    """Reads values until they were too many."""

    def __init__(self, closed: frozenset[int]) -> None:
        self._closed = closed
        self._left = _MOST_PARTS
        self._seen: dict[int, Any] = {}  # held on to: the number of an object that is gone is given to another one

    def hash(self, value: Any, depth: int) -> bytes:
        self._left -= 1
        hasher = blake2b(type(value).__qualname__.encode(), digest_size=8)
        if refuses(value):
            pass  # counts by its type
        elif isinstance(value, _PLAIN):
            hasher.update(value if isinstance(value, bytes) else repr(value).encode())
        elif self._left > 0 and depth < _MOST_DEEP and not self._is_closed(value):
            self._seen[id(value)] = value
            for part in self._read(value, depth + 1):
                hasher.update(part)
        return hasher.digest()

    def _is_closed(self, value: Any) -> bool:
        if id(value) in self._closed or id(value) in self._seen or isinstance(value, _CLOSED):
            return True
        return type(value).__module__.partition(".")[0] in _SHOWING or has_state(value)

    def _read(self, value: Any, depth: int) -> Iterator[bytes]:
        if isinstance(value, torch.Tensor | np.ndarray):
            is_trained = isinstance(value, torch.Tensor) and value.requires_grad
            yield repr(None if is_trained else read_whole(value) or Fingerprint(value).text()).encode()
        elif isinstance(value, Enum):
            yield value.name.encode()
        elif (base := next((each for each in _COLLECTIONS if isinstance(value, each)), None)) is not None:
            yield from self._items(value, base, depth)
            yield from self._named(attributes_of(value), depth)
        elif isinstance(value, FunctionType):
            yield from self._named({"": value.__qualname__, **_variables_of_function(value), **vars(value)}, depth)
        elif isinstance(value, MethodType):
            yield from self._parts((value.__self__, value.__func__), depth)
        elif isinstance(value, GeneratorType):
            yield from self._of_generator(value, depth)
        elif hasattr(type(value), "__next__") and type(value).__module__ in _OF_PYTHON:
            yield repr(operator.length_hint(value, -1)).encode()
            yield from self._parts(gc.get_referents(value), depth)
        else:
            yield from self._of_object(value, depth)

    def _parts(self, parts: Any, depth: int) -> list[bytes]:
        return [self.hash(part, depth) for part in parts]

    def _named(self, parts: dict[str, Any], depth: int) -> Iterator[bytes]:
        for name, part in sorted(parts.items()):
            yield name.encode()
            yield self.hash(part, depth)

    def _items(self, value: Any, base: Any, depth: int) -> Iterator[bytes]:
        count = base.__len__(value)
        yield repr(count).encode()
        step = max(1, count // _MOST_ITEMS)
        if issubclass(base, dict):
            pairs = islice(base.items(value), None, None, step)
            hashes = [self.hash(key, depth) + self.hash(part, depth) for key, part in pairs]
        elif base in (list, tuple):
            hashes = self._parts(base.__getitem__(value, slice(None, None, step)), depth)
        else:
            hashes = self._parts(islice(base.__iter__(value), None, None, step), depth)
        yield from sorted(hashes) if base in (set, frozenset, dict) else hashes

    def _of_generator(self, value: GeneratorType[Any, Any, Any], depth: int) -> Iterator[bytes]:
        frame = value.gi_frame
        yield value.gi_code.co_qualname.encode()
        if frame is not None:
            yield repr(frame.f_lasti).encode()
            yield from self._named(dict(frame.f_locals), depth)
            yield self.hash(value.gi_yieldfrom, depth)

    def _of_object(self, value: Any, depth: int) -> Iterator[bytes]:
        """Read what an object is pickled by, if its class has a say in that; else its attributes."""
        if isinstance(value, ContextVar):
            yield self.hash(value.get(None), depth)
        elif (held := _bytes_in(value)) is not None:
            yield repr(read_whole(held) or Fingerprint(held).text()).encode()
        elif not is_pickled_in_its_own_way(type(value)):
            yield from self._named(attributes_of(value), depth)
        else:
            try:
                reduced = value.__reduce_ex__(5)
            except Exception:  # noqa: BLE001  # it is not to be pickled, and what says so is up to the class
                yield from self._named(attributes_of(value), depth)
                return
            if isinstance(reduced, str):
                reduced = (reduced,)
            yield from self._parts((*reduced[:3], *map(_listed, reduced[3:5])), depth)


def _bytes_in(value: Any) -> np.ndarray[Any, Any] | None:
    """Return the bytes of an object that others may read as such, None of any other."""
    try:
        return np.frombuffer(value, dtype=np.uint8)
    except (TypeError, ValueError, BufferError):
        return None


def _listed(items: Any) -> Any:
    return None if items is None else [*islice(items, _MOST_ITEMS)]


def _variables_of_function(function: FunctionType) -> dict[str, Any]:
    """Return what a function has in defaults and in its closure."""
    found: dict[str, Any] = {"defaults": function.__defaults__}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[f"cell {name}"] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    return found
