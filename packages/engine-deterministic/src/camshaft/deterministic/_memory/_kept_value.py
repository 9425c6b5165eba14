"""Values that objects remember, in a form that a checkpoint takes: numbers, texts, and what holds many of them."""

from __future__ import annotations

import itertools
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeAlias

import numpy as np
import torch

from camshaft.deterministic._fingerprint import Fingerprint
from camshaft.deterministic._inside import refuses
from camshaft.deterministic._memory._kept_array import (
    MOST,
    PLAIN,
    NotKept,
    array_of_bytes,
    bytes_of,
    give_array,
    keep_array,
    keep_tensor,
    read_whole,
)
from camshaft.deterministic._memory._kept_text import WRITTEN, is_written, read_count, write_text

_MOST_DEEP = 8
# Whole numbers in a longer list are kept as a tensor, which loads at once.
_LONG = 64
# Of a longer collection about so many items are read to see whether it has changed.
_READ_ITEMS = 1 << 10
_ENDS_OF_INT64 = -(2**63), 2**63 - 1
_FACTORIES = {each.__name__: each for each in (bool, int, float, str, list, dict, set, tuple)}
_COLLECTIONS = (list, tuple, set, frozenset, deque, OrderedDict, dict)
_SIZED = (bytes, bytearray, array)
_WITH_VALUE = (*_COLLECTIONS, itertools.count, torch.Tensor, np.ndarray, np.generic, *_SIZED, range, Enum)
# The kept form of a value of another class than these, but with the content of one: its class and that content.
_INSIDE = "inside"

# A plain value as it is; any other as a mapping of one entry, whose name tells the type.
Kept: TypeAlias = Any


def has_value(value: Any) -> bool:
    """Return whether it can be told when a value changes; what it holds may be of other types."""
    return isinstance(value, _WITH_VALUE) or type(value) in PLAIN or is_written(value)


def token_of(value: Any, depth: int = 0) -> Any:
    """Return what changes when a value does, soon enough to be asked for often: of long ones a part is read."""
    if type(value) in PLAIN:
        return type(value), value
    if depth > _MOST_DEEP or refuses(value):
        return type(value)
    base = _base_of(value)
    if base is not None:
        items = base.items(value) if issubclass(base, dict) else base.__iter__(value)
        return type(value), base.__len__(value), _token_of_items(items, base.__len__(value), depth)
    return type(value), _text_of(value)


def _text_of(value: Any) -> Any:
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, (itertools.count, range, bytes, array, Enum)) or is_written(value):
        return repr(value)
    mask = read_whole(np.ma.getmaskarray(value)) if isinstance(value, np.ma.MaskedArray) else None
    return read_whole(value) or Fingerprint(value).text(), mask


def _token_of_items(items: Any, count: int, depth: int) -> Any:
    chosen = [*itertools.islice(items, None, None, max(1, count // _READ_ITEMS))]
    return repr(chosen) if {*map(type, chosen)} <= {*PLAIN} else [token_of(item, depth + 1) for item in chosen]


def _base_of(value: Any) -> Any:
    """Return the class of Python's whose content a collection has; a subclass may have other methods."""
    return next((base for base in _COLLECTIONS if isinstance(value, base)), None)


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
        self._left = MOST

    def keep(self, value: Any, depth: int) -> Kept:
        if type(value) in PLAIN:
            return value
        if refuses(value):
            raise NotKept
        if is_written(value):
            return {type(value).__name__: write_text(value)}
        self._count(value, depth)
        name = self._name(value)
        if name is not None:
            return {name: self._content(name, value, depth)}
        if depth:  # what it is put into may not be there
            raise NotKept
        return {_INSIDE: [type(value).__qualname__, self._inside(value)]}

    def _name(self, value: Any) -> str | None:
        if isinstance(value, np.generic):
            return "number"
        if type(value) is defaultdict and value.default_factory not in _FACTORIES.values():
            return None
        return next((name for name, kind in _KINDS.items() if type(value) is kind), None)

    def _inside(self, value: Any) -> Kept:
        """Return the content of a value of a class of the user's, which is put into one that is there."""
        if isinstance(value, Enum):
            return value.name
        base = _base_of(value) or next((base for base in (torch.Tensor, np.ndarray) if isinstance(value, base)), None)
        if base is None or (base in (tuple, frozenset) and not hasattr(type(value), "_fields")):
            raise NotKept
        return {base.__name__: self._content(base.__name__, value, 0)}

    def _content(self, name: str, value: Any, depth: int) -> Any:  # noqa: PLR0911  # one line for each type
        if name in ("dict", "Counter", "OrderedDict", "defaultdict"):
            parts = (OrderedDict if name == "OrderedDict" else dict).items(value)
            kept = [[self.keep(key, depth + 1), self.keep(part, depth + 1)] for key, part in parts]
            return [kept, value.default_factory.__name__] if name == "defaultdict" else kept
        if name == "deque":
            return [self._items(value, depth), value.maxlen]
        if name == "count":
            return [*read_count(value)]
        if name == "range":
            return [value.start, value.stop, value.step]
        if name == "Tensor":
            return keep_tensor(value)
        if name in ("bytes", "bytearray"):
            return array_of_bytes(value)
        if name == "array":
            return [value.typecode, array_of_bytes(value.tobytes())]
        if name in ("ndarray", "number"):
            return keep_array(np.asarray(value), lambda item: self.keep(item, depth + 1))
        if name == "MaskedArray":
            return [self._content("ndarray", part, depth) for part in (value.data, np.ma.getmaskarray(value))]
        return self._items(sorted(value, key=repr) if name in ("set", "frozenset") else value, depth)

    def _count(self, value: Any, depth: int) -> None:
        base = _base_of(value)
        if isinstance(value, torch.Tensor):
            self._left -= value.numel()
        elif isinstance(value, np.ndarray):
            self._left -= value.size
        else:
            self._left -= base.__len__(value) if base else len(value) if isinstance(value, _SIZED) else 1
        if self._left < 0 or depth > _MOST_DEEP:
            raise NotKept

    def _items(self, items: Any, depth: int) -> Any:
        items = [*(_base_of(items) or list).__iter__(items)]
        is_whole = len(items) > _LONG and all(type(item) is int for item in items)
        if is_whole and _ENDS_OF_INT64[0] <= min(items) and max(items) <= _ENDS_OF_INT64[1]:
            return torch.tensor(items, dtype=torch.int64)
        return [self.keep(item, depth + 1) for item in items]


def give_back(kept: Kept) -> Any:
    """Return a new value like the one that was kept."""
    if not isinstance(kept, Mapping):
        return kept
    ((name, content),) = kept.items()
    return WRITTEN[name].read(content) if name in WRITTEN else _GIVEN[name](content)


def _given_items(content: Any) -> list[Any]:
    return content.tolist() if isinstance(content, torch.Tensor) else [give_back(item) for item in content]


def _given_dict(content: Any) -> dict[Any, Any]:
    return {give_back(key): give_back(part) for key, part in content}


def _given_masked(content: Any) -> Any:
    data, mask = (give_array(part, give_back) for part in content)
    return np.ma.MaskedArray(data, mask)


def renewed(present: Any, kept: Kept) -> Any:
    """Return what was kept: the present value, changed in place where others may refer to it; else a new one.

    Raises:
        NotKept: it is the content of an object of a class of the user's, and the present value is none.
    """
    if not isinstance(kept, Mapping) or _INSIDE not in kept:
        new = give_back(kept)
        return present if type(new) is type(present) and _put_into(present, new) else new
    name, inside = kept[_INSIDE]
    if type(present).__qualname__ != name:
        raise NotKept
    if isinstance(present, Enum):
        return type(present)[inside]
    new = give_back(inside)
    if isinstance(present, tuple):
        return tuple.__new__(type(present), new)
    if _base_of(present) is not _base_of(new) or not _put_into(present, new):
        raise NotKept
    return present


def _put_into(value: Any, new: Any) -> bool:
    """Make a value another one in place; return whether that was done. Methods of subclasses are not asked."""
    base = _base_of(value)
    if base is list:
        list.__setitem__(value, slice(None), new)
    elif base in (dict, OrderedDict, set):
        base.clear(value)
        base.update(value, new)
    elif base is deque and value.maxlen == new.maxlen:
        deque.clear(value)
        deque.extend(value, new)
    elif isinstance(value, bytearray | array):
        if isinstance(value, array) and value.typecode != new.typecode:
            return False
        value[:] = new
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


_KINDS: dict[str, Any] = {
    each.__name__: each
    for each in (
        list, tuple, set, frozenset, dict, Counter, OrderedDict, defaultdict, deque, range, itertools.count,
        bytes, bytearray, array, torch.Tensor, np.ndarray, np.ma.MaskedArray,
    )
}  # fmt: skip
_GIVEN: dict[str, Callable[[Any], Any]] = {
    "list": _given_items,
    "tuple": lambda content: tuple(_given_items(content)),
    "set": lambda content: set(_given_items(content)),
    "frozenset": lambda content: frozenset(_given_items(content)),
    "dict": _given_dict,
    "Counter": lambda content: Counter(_given_dict(content)),
    "OrderedDict": lambda content: OrderedDict(_given_dict(content)),
    "defaultdict": lambda content: defaultdict(_FACTORIES[content[1]], _given_dict(content[0])),
    "deque": lambda content: deque(_given_items(content[0]), content[1]),
    "range": lambda content: range(*content),
    "count": lambda content: itertools.count(*content),
    "bytes": bytes_of,
    "bytearray": lambda content: bytearray(bytes_of(content)),
    "array": lambda content: array(content[0], bytes_of(content[1])),
    "Tensor": torch.clone,
    "ndarray": lambda content: give_array(content, give_back),
    "number": lambda content: give_array(content, give_back)[()],
    "MaskedArray": _given_masked,
}
