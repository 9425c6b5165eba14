"""What a user's object has inside: generators and loaders that nobody would see from outside."""

from __future__ import annotations

import functools
import gc
import random
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import Enum
from itertools import islice
from types import (
    BuiltinFunctionType,
    CodeType,
    FrameType,
    FunctionType,
    GeneratorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

GENERATORS = (torch.Generator, random.Random, np.random.RandomState, np.random.Generator)

_READER = "camshaft.deterministic._reader"

# A search ends after so many objects, and does not look into longer lists: those are data.
_MOST_OBJECTS = 2_000
LONGEST = 64
_TRIES = 100  # to read what another thread changes; each takes microseconds
_CONTAINERS: tuple[Any, ...] = (dict, list, tuple, set, frozenset, deque)
_OF_LIBRARIES = {*sys.stdlib_module_names, "torch", "numpy", "camshaft"} - {"__main__"}
_OF_PYTHON = ("builtins", "itertools")
_PICKLING = ("__reduce_ex__", "__reduce__", "__getstate__")
_CACHES = {"_cache": "pandas"}
_SHARED = (bool, int, float, complex, str, bytes, type(None))
_TRANSPARENT = (*_CONTAINERS, MethodType, functools.partial, SimpleNamespace)
_CLOSED = (
    type, ModuleType, BuiltinFunctionType, CodeType, FrameType, str, bytes, int, float, complex, bool, type(None),
    np.ndarray, np.generic, torch.Tensor, torch.nn.Module, torch.dtype, torch.device, *GENERATORS,
)  # fmt: skip


def find_generators(*owners: object) -> list[Any]:
    """Return the generator objects that `owners` hold: in attributes, helpers, lists, dicts and closures."""
    return [each for each in _inside(owners) if isinstance(each, GENERATORS) and not _is_global(each)]


def find_loaders(*owners: object) -> list[Any]:
    """Return the loaders, and iterators over loaders, that `owners` hold.

    Generators and the iterators of `itertools` are looked into, too.
    """
    found = [each for each in _inside(owners) if isinstance(each, DataLoader | _BaseDataLoaderIter)]
    return [each for each in found if not any(each is own for own in owners)]


def holds_class(owner: object, name: str) -> bool:
    """Return whether `owner` holds an object of a class with this name."""
    return any(type(each).__name__ == name for each in _inside((owner,)))


def holds_resumable(owner: object) -> bool:
    """Return whether `owner` holds a `ResumableLoader`, or an iteration over one; to be such a loader is fine."""
    if type(getattr(owner, "__dict__", {}).get("_reader")).__module__ == _READER != type(owner).__module__:
        return False
    return any(type(each).__module__ == _READER for each in _inside((owner,)))


def _is_global(generator: Any) -> bool:
    """Return whether a generator is one of the process, or takes no seed."""
    shared = (torch.default_generator, random.random.__self__)  # type: ignore[attr-defined]  # a bound method
    return isinstance(generator, random.SystemRandom) or any(generator is each for each in shared)


class Found(NamedTuple):
    """An object, and how it is reached.

    Attributes:
        where: the function or the object that has it, and its name there.
        value: the object.
        is_own: whether the user's code has it: a function's variable, an attribute of an object of the user's class, or
            what a container among them holds; not an attribute of a library's object.
        parent: what refers to it; None for an object that the search began with.
    """

    where: str
    value: Any
    is_own: bool = True
    parent: Found | None = None

    def chain(self) -> Iterator[Found]:
        """Yield what refers to it, the nearest first, down to what the search began with."""
        above = self.parent
        while above is not None:
            yield above
            above = above.parent


def _is_no_object(value: Any) -> bool:
    del value
    return False


def _no_parts(value: Any) -> Iterator[tuple[str, Any]]:
    del value
    return iter(())


def search(
    *owners: tuple[str, object],
    most: int = _MOST_OBJECTS,
    closed: Callable[[Any], bool] = _is_no_object,
    further: Callable[[Any], Iterator[tuple[str, Any]]] = _no_parts,
) -> list[Found]:
    """Return some named objects and what they refer to, the nearest first.

    Each object comes once, but for numbers and texts, which are one object wherever they are.

    Args:
        owners: where to begin: names and objects.
        most: how many objects to look at.
        closed: returns whether an object is left out, and what it refers to.
        further: yields more parts of an object, which the user's code has.
    """
    seen: set[int] = set()
    found: list[Found] = []
    waiting = deque(Found(name, owner) for name, owner in owners)
    while waiting and len(found) < most:
        each = waiting.popleft()
        if refuses(each.value):
            continue
        if (id(each.value) in seen and not isinstance(each.value, _SHARED)) or closed(each.value):
            continue
        seen.add(id(each.value))
        found.append(each)
        label = label_of(each.value)
        is_own = label is not None or (each.is_own and _is_transparent(each.value))
        before = label or each.where
        of_user = list(further(each.value))
        told = {name for name, _ in of_user if name}
        parts = [(name, part) for name, part in _parts(each.value) if name not in told]
        waiting.extend(Found(f"{before}{name}", part, True, each) for name, part in of_user)
        waiting.extend(Found(f"{before}{name}", part, is_own, each) for name, part in parts)
    return found


def _is_transparent(value: Any) -> bool:
    """Return whether what something has belongs to whoever has that: it is a container, or an iterator of Python's."""
    is_iterator = type(value).__module__ in _OF_PYTHON and hasattr(type(value), "__next__")
    return is_iterator or isinstance(value, _TRANSPARENT)


def refuses(value: Any) -> bool:
    """Return whether an object does not let itself be looked at: it raises even when it is asked for its class.

    So do proxies of what is gone, or not there yet, and objects that take any name for one of their entries, as numpy's
    archives have one.
    """
    ways: tuple[Any, Any] = type(value).__getattribute__, object.__getattribute__
    if ways[0] is ways[1]:
        return False
    try:
        value.__class__, getattr(value, "__dict__", None)  # asked whether it raises
    except Exception:  # noqa: BLE001  # whatever it raises, it is not looked into
        return True
    return False


def is_of_library(definition: Any) -> bool:
    """Return whether a function or a class is Python's, torch's, numpy's or Camshaft's; what was typed in is not."""
    if isinstance(definition, FunctionType) and definition.__code__.co_filename.startswith("<"):
        return False
    return str(definition.__module__).partition(".")[0] in _OF_LIBRARIES


def is_of_user(value: object) -> bool:
    """Return whether an object is of a class of the user's own, not of Python's, torch's, numpy's or Camshaft's."""
    return not is_of_library(type(value))


def is_pickled_in_its_own_way(kind: type) -> bool:
    """Return whether a class has a say in what its objects are pickled by."""
    return any(getattr(kind, name) is not getattr(object, name) for name in _PICKLING)


def label_of(value: Any) -> str | None:
    """Return how people call a function, or an object of a class of their own; None for anything else."""
    if isinstance(value, FunctionType) and not is_of_library(value):
        return f"{value.__qualname__.replace('<locals>.', '')}()"
    return type(value).__qualname__.replace("<locals>.", "") if is_of_user(value) else None


def attributes_of(value: Any) -> dict[str, Any]:
    """Return the attributes of an object, those in slots included; not what is known to be a cache."""
    return {name[1:]: part for name, part in _attributes(value) if not is_cache(value, name[1:])}


def is_cache(value: Any, name: str) -> bool:
    """Return whether an attribute is where a library keeps what follows from the rest of the object."""
    if name not in _CACHES:
        return False
    return any(kind.__module__.partition(".")[0] == _CACHES[name] for kind in type(value).__mro__)


def _inside(owners: tuple[object, ...]) -> list[Any]:
    """Return `owners` and what they refer to, each object once, the nearest first."""
    return [each.value for each in search(*(("", owner) for owner in owners))]


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an object refers to, each with the text that leads to it from there."""
    if isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, GENERATORS):  # such as `rng.random`
        yield ".__self__", value.__self__
    if isinstance(value, type):
        yield from _class_parts(value.__mro__)
    if isinstance(value, _CLOSED):
        return
    if isinstance(value, FunctionType):
        yield from _parts_of_function(value)
    elif isinstance(value, MethodType):
        yield from (("", value.__self__), ("", value.__func__))
    elif isinstance(value, functools.partial):
        yield from (("", value.func), ("", value.args), ("", value.keywords))
    elif isinstance(value, GeneratorType):
        yield from _parts_of_generator(value)
    elif isinstance(value, _CONTAINERS):
        yield from _items(value)
        yield from _attributes(value)
    elif hasattr(value, "__dict__") or hasattr(type(value), "__slots__"):
        yield from _attributes(value)
        yield from _class_parts(type(value).__mro__)
    else:
        yield from (("", part) for part in _parts_of_builtin(value))


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    for name, part in list(getattr(value, "__dict__", {}).items()):
        yield f".{name}", part
    for kind in type(value).__mro__:
        slots = vars(kind).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if isinstance(member := vars(kind).get(name), MemberDescriptorType) and hasattr(value, name):
                yield f".{name}", member.__get__(value)


def _class_parts(kinds: Iterable[type]) -> Iterator[tuple[str, Any]]:
    """Yield what classes of the user's have: methods, which may name global generators, and attributes."""
    for kind in kinds:
        if is_of_library(kind):
            continue
        for name, defined in list(vars(kind).items()):
            part = defined.__func__ if isinstance(defined, staticmethod | classmethod) else defined
            if isinstance(part, FunctionType):
                yield "", part
            elif not name.startswith("__") and not isinstance(part, _SHARED):
                yield f".{name}", part


def _items(container: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a container holds, by Python's own methods: those of a class of the user's may draw an order.

    It is read in one go, and again if another thread has changed it meanwhile: one of a loader, or one that waits.
    """
    if isinstance(container, dict):
        items_of_dict = _read(lambda: iter(dict.items(container)))
        yield from ((f"[{key_text(key, number)}]", part) for number, (key, part) in enumerate(items_of_dict))
        return
    base = next(each for each in _CONTAINERS if isinstance(container, each))
    is_set = isinstance(container, set | frozenset)
    items = _read(lambda: base.__iter__(container), None if is_set else LONGEST)
    if is_set:  # its own order differs from process to process
        items = sorted(items, key=_in_set)[:LONGEST]
    yield from ((f"[{number}]", part) for number, part in enumerate(items))


def key_text(key: Any, number: int) -> str:
    """Return what stands for a key of a dict: the same in another process, where an object lies elsewhere in memory."""
    is_alike = isinstance(key, (*_SHARED, type, Enum)) or (
        isinstance(key, tuple) and all(isinstance(part, _SHARED) for part in key)
    )
    return repr(key) if is_alike else f"{type(key).__qualname__} {number}"


def _read(begin: Callable[[], Iterator[Any]], most: int | None = LONGEST) -> list[Any]:
    """Return the first items that a container has, however often another thread changes it."""
    for _ in range(_TRIES):
        with suppress(RuntimeError):  # that it has changed
            return list(islice(begin(), most))
    return list(islice(begin(), most))


def _in_set(item: Any) -> tuple[str, str]:
    """Return what the items of a set are sorted by: their class, and what is plain in them."""
    if isinstance(item, _SHARED):
        return type(item).__qualname__, repr(item)
    plain = [(name, part) for name, part in _attributes(item) if isinstance(part, _SHARED)]
    return type(item).__qualname__, repr(plain)


def _parts_of_function(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield what a function keeps: the defaults that may change, its closure, and the globals that it names."""
    yield from ((".default", part) for part in function.__defaults__ or () if not isinstance(part, _SHARED))
    defaults = (function.__kwdefaults__ or {}).items()
    yield from ((f".{name}", part) for name, part in defaults if not isinstance(part, _SHARED))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f".{name}", cell.cell_contents
        except ValueError:  # not filled yet
            continue
    yield from _named_globals(function.__code__, function.__globals__)


def _parts_of_generator(generator: GeneratorType[Any, Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what the function of a generator has in its variables, and what it is drawing from."""
    frame = generator.gi_frame
    name = generator.gi_code.co_qualname.replace("<locals>.", "")
    if frame is not None:
        yield from ((f" {name}().{variable}", value) for variable, value in frame.f_locals.items())
        yield from _named_globals(generator.gi_code, frame.f_globals)
    yield f" {name}()", generator.gi_yieldfrom


def _named_globals(code: CodeType, names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the generators and loaders among the globals that some code names, and the user's functions."""
    for name in code.co_names:
        value = names.get(name)
        is_function = isinstance(value, FunctionType) and not is_of_library(value)
        if is_function or isinstance(value, (*GENERATORS, DataLoader)):
            yield f".{name}", value


def _parts_of_builtin(value: Any) -> list[Any]:
    """Return what an object without attributes refers to, such as an iterator of `itertools`."""
    return [] if type(value).__module__ not in _OF_PYTHON else gc.get_referents(value)
