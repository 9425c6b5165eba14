"""Values that objects remember, in a form that a checkpoint takes: numbers, texts, and what holds many of them."""

from __future__ import annotations

import ast
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
import torch

from camshaft.deterministic._fingerprint import Fingerprint

PLAIN = (bool, int, float, str, type(None))
# A longer value is data, and no memory.
_MOST = 1 << 21
_MOST_DEEP = 8
# Whole numbers in a longer list are kept as a tensor, which loads at once.
_LONG = 64
# Of a longer collection about so many items are read to see whether it has changed.
_READ_ITEMS = 1 << 10
_ENDS_OF_INT64 = -(2**63), 2**63 - 1

# A plain value as it is; any other as a mapping of one entry, whose name tells the type.
Kept: TypeAlias = Any


class NotKept(Exception):  # noqa: N818  # an answer and no error: it leaves this package never
    """A value is of a type that is not kept, or too long."""


def is_keepable(value: Any) -> bool:
    """Return whether a value is of a type that can be kept; what it holds may be of others."""
    return isinstance(value, (*_HOLDING, np.generic)) or type(value) in PLAIN


def token_of(value: Any) -> Any:
    """Return what changes when a value does, soon enough to be asked for often: of long ones a part is read."""
    if type(value) in PLAIN:
        return type(value), value
    if isinstance(value, itertools.count):
        return repr(value)
    if isinstance(value, list | tuple | set | frozenset | deque | dict):
        return type(value), len(value), _token_of_items(value.items() if isinstance(value, dict) else value)
    # All of these is read: of the weights of samples a few change at a time.
    if isinstance(value, torch.Tensor) and _is_plain(value):
        numbers = value.detach().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        return type(value), value.dtype, value.shape, blake2b(numbers, digest_size=16).digest()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufmM":
        return type(value), value.dtype.str, value.shape, blake2b(value.tobytes(), digest_size=16).digest()
    return type(value), Fingerprint(value).text()


def _is_plain(tensor: torch.Tensor) -> bool:
    return (
        tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not (tensor.is_complex() or tensor.is_quantized or tensor.is_neg())
    )


def _token_of_items(items: Any) -> Any:
    chosen = [*itertools.islice(items, None, None, max(1, len(items) // _READ_ITEMS))]
    return repr(chosen) if {*map(type, chosen)} <= {*PLAIN} else [*map(token_of, chosen)]


def keep(value: Any) -> Kept:
    """Return a value in a form that loads safely, a copy.

    Raises:
        NotKept: it cannot be kept.

    Examples:
        >>> keep(3), keep([1, 2.5])
        (3, {'list': [1, 2.5]})
        >>> give_back(keep(deque([1, (2, {"a": None})], maxlen=3)))
        deque([1, (2, {'a': None})], maxlen=3)
    """
    return _Keeper().keep(value, 0)


class _Keeper:
    """Keeps values until there are too many of them."""

    def __init__(self) -> None:
        self._left = _MOST

    def keep(self, value: Any, depth: int) -> Kept:
        if type(value) in PLAIN:
            return value
        name = next((each.__name__ for each in _HOLDING if type(value) is each), None)
        if name is None and isinstance(value, np.generic):
            name = "number"
        if name is None:
            raise NotKept
        self._count(value, depth)
        return {name: self._content(name, value, depth)}

    def _content(self, name: str, value: Any, depth: int) -> Any:
        if name == "dict":
            return [[self.keep(key, depth + 1), self.keep(part, depth + 1)] for key, part in value.items()]
        if name == "deque":
            return [self._items(value, depth), value.maxlen]
        if name == "count":
            return [*_read_count(value)]
        if name == "Tensor":
            return _keep_tensor(value)
        if name in ("ndarray", "number"):
            return _keep_array(np.asarray(value))
        return self._items(sorted(value, key=repr) if name in ("set", "frozenset") else value, depth)

    def _count(self, value: Any, depth: int) -> None:
        size = value.numel() if isinstance(value, torch.Tensor) else getattr(value, "size", None)
        if not isinstance(size, int):
            size = len(value) if hasattr(type(value), "__len__") else 1
        self._left -= size
        if self._left < 0 or depth > _MOST_DEEP:
            raise NotKept

    def _items(self, items: Any, depth: int) -> Any:
        is_whole = len(items) > _LONG and all(type(item) is int for item in items)
        if is_whole and _ENDS_OF_INT64[0] <= min(items) and max(items) <= _ENDS_OF_INT64[1]:
            return torch.tensor(list(items), dtype=torch.int64)
        return [self.keep(item, depth + 1) for item in items]


def _keep_tensor(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        raise NotKept
    return tensor.detach().cpu().clone()


def _keep_array(array: np.ndarray[Any, Any]) -> list[Any]:
    if array.dtype.hasobject or array.dtype.names is not None:
        raise NotKept
    raw = np.frombuffer(array.tobytes(), dtype=np.uint8)
    return [array.dtype.str, list(array.shape), torch.from_numpy(raw.copy())]


def _read_count(value: Any) -> tuple[Any, ...]:
    """Return where an `itertools.count` stands, and its step: Python no longer copies it for us."""
    try:
        read = ast.literal_eval(f"({repr(value)[len('count(') : -1]},)")
    except (SyntaxError, ValueError) as error:
        raise NotKept from error
    return tuple(read)


def give_back(kept: Kept) -> Any:
    """Return a new value like the one that was kept."""
    if not isinstance(kept, Mapping):
        return kept
    ((name, content),) = kept.items()
    return _GIVEN[name](content)


def _give_array(content: Any) -> np.ndarray[Any, Any]:
    dtype, shape, raw = content
    return np.frombuffer(raw.numpy().tobytes(), dtype=dtype).reshape(shape).copy()


def _given_items(content: Any) -> list[Any]:
    return content.tolist() if isinstance(content, torch.Tensor) else [give_back(item) for item in content]


def put_into(value: Any, kept: Kept) -> bool:
    """Make a value what was kept, in place, so that whoever else refers to it sees it; return whether that was done."""
    new = give_back(kept)
    if type(new) is not type(value):
        return False
    if isinstance(value, list):
        value[:] = new
    elif isinstance(value, dict | set):
        value.clear()
        value.update(new)
    elif isinstance(value, deque) and value.maxlen == new.maxlen:
        value.clear()
        value.extend(new)
    elif isinstance(value, np.ndarray) and (value.shape, value.dtype) == (new.shape, new.dtype):
        if not value.flags.writeable:
            return False
        value[...] = new
    elif isinstance(value, torch.Tensor) and (value.shape, value.dtype) == (new.shape, new.dtype):
        with torch.no_grad():
            value.copy_(new)
    else:
        return False
    return True


_HOLDING = (list, tuple, set, frozenset, dict, deque, itertools.count, torch.Tensor, np.ndarray)
_GIVEN: dict[str, Callable[[Any], Any]] = {
    "list": _given_items,
    "tuple": lambda content: tuple(_given_items(content)),
    "set": lambda content: set(_given_items(content)),
    "frozenset": lambda content: frozenset(_given_items(content)),
    "dict": lambda content: {give_back(key): give_back(part) for key, part in content},
    "deque": lambda content: deque(_given_items(content[0]), content[1]),
    "count": lambda content: itertools.count(*content),
    "Tensor": torch.clone,
    "ndarray": _give_array,
    "number": lambda content: _give_array(content)[()],
}
