"""What everything that takes part in a training is like at some moment, to be compared with another moment."""

from __future__ import annotations

import dis
import random
import sys
import sysconfig
from array import array
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch
from torch import nn

from camshaft.deterministic._audit._leaf import (
    PLAIN,
    Leaves,
    leaf_of,
    leaf_of_generator,
    leaf_of_iterator,
    leaves_of,
)
from camshaft.deterministic._audit._module_state import leaves_beside_state
from camshaft.deterministic._inside import GENERATORS, LONGEST, Found, is_of_library, is_of_user, search
from camshaft.deterministic._memory._kept_value import has_value
from camshaft.engine import Engine, has_state

_MOST_OBJECTS = 20_000
GENERATOR = " (random generator)"  # the end of the places of these
_CONTAINERS = ("builtins", "collections", "functools", "itertools", "types", "weakref", "_weakrefset", "__main__")
_SHOWING = ("tqdm", "rich", "tensorboard", "mlflow", "matplotlib")  # bars and loggers: nothing depends on them
_CLOSED_LIBRARIES = {*sys.stdlib_module_names} - {*_CONTAINERS, "argparse"}
_MAY_CHANGE = (
    list,
    dict,
    set,
    deque,
    bytearray,
    array,
    np.ndarray,
    torch.Tensor,
    nn.Module,
    torch.optim.Optimizer,
    Engine,
)


def snapshot(owners: Mapping[str, Any], skipped: tuple[Any, ...] = ()) -> Leaves:
    """Return what the user's objects are like that can be reached from `owners`, all in one; see `survey`."""
    out: Leaves = {}
    for _, leaves in survey(owners, skipped):
        out |= leaves
    return out


def survey(
    owners: Mapping[str, Any], skipped: tuple[Any, ...] = (), left_out: tuple[Any, ...] = ()
) -> Iterator[tuple[Found, Leaves]]:
    """Yield what can be reached from `owners` and may change, and what each is like; no place comes twice.

    That is, wherever it is: whatever has a `state_dict`, and random generators. And what the user's code has in
    variables of functions, in attributes of objects and in containers of these: values, and iterators. Objects of
    libraries are looked through; an attribute that a library's class does not set itself is the user's.

    Args:
        owners: where to begin, by name.
        skipped: objects that are looked through only, such as those that are saved.
        left_out: objects that are not looked into either.
    """
    known = {id(each) for each in skipped}
    closed = {id(each) for each in left_out if not isinstance(each, PLAIN)}
    used: set[str] = set()
    numbers = defaultdict[str, int](lambda: 1)  # of how many objects with this name
    for found in search(
        *owners.items(),
        most=_MOST_OBJECTS,
        closed=lambda value: id(value) in closed or _is_closed(value),
        further=_further_parts,
    ):
        if id(found.value) in known:
            continue
        leaves = _leaves_of_object(found)
        while not used.isdisjoint(leaves):  # another object of the same class
            numbers[found.where] += 1
            leaves = _leaves_of_object(found._replace(where=f"{found.where} {numbers[found.where]}"))
        if leaves:
            used |= leaves.keys()
            number = numbers[found.where]
            yield found if number == 1 else found._replace(where=f"{found.where} {number}"), leaves


def _is_closed(value: Any) -> bool:
    """Return whether an object leads nowhere: it opens data for an engine, or is a bar, a logger, a file, a thread."""
    if isinstance(value, Engine | random.Random) or has_value(value):
        return False
    kind = type(value)
    if kind.__module__.startswith("camshaft.deterministic."):
        return True
    definitions = [value] if isinstance(value, FunctionType) else kind.__mro__
    is_showing = any(_library_of(each) in _SHOWING for each in definitions)
    return is_showing or _library_of(kind) in _CLOSED_LIBRARIES


def _library_of(definition: Any) -> str:
    return str(definition.__module__).partition(".")[0]


def _leaves_of_object(found: Found) -> Leaves:
    where, value, is_own, _ = found
    if isinstance(value, GENERATORS):
        return {f"{where}{GENERATOR}": leaf_of_generator(value)}
    if isinstance(value, Engine | type):
        return {}
    if isinstance(value, nn.Module):
        return leaves_of(value.state_dict(), where) | leaves_beside_state(value, where)
    if has_state(value):
        try:
            return leaves_of(value.state_dict(), where)
        except Exception:  # noqa: BLE001  # whatever a class raises whose object is not ready: it has no state yet
            return {}
    return _leaves_of_own(value, where) if is_own else {}


def _leaves_of_own(value: Any, where: str) -> Leaves:
    """Return what a value of the user's is like; of a container, how long it is: its items are found by themselves."""
    leaf = leaf_of_iterator(value)
    if leaf is not None:
        return {f"{where} (iterator)": leaf}
    if isinstance(value, (list, tuple, dict, set, frozenset, deque)):
        whole = {where: leaf_of(value)} if len(value) > LONGEST else {}  # not all items are found
        return {f"len({where})": leaf_of(len(value)), **whole}
    if isinstance(value, (torch.Tensor, np.ndarray)) or has_value(value):
        return leaves_of(value, where)
    return {}


# ---------------------------------------------------------------------- where nobody else looks for the user's things


def _further_parts(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what the user's code may have put into an object, each with the text that leads to it.

    That is: attributes of functions, and globals that they change; attributes of an object of a library that its class
    does not set itself; attributes of classes. Globals and classes of modules that were installed are left alone.
    """
    if isinstance(value, Engine):
        yield ".state", value.state
    if isinstance(value, nn.Module):
        yield from _objects_in_module(value)
    if isinstance(value, FunctionType) and not is_of_library(value):
        yield from ((f".{name}", part) for name, part in vars(value).items())
        yield from () if _is_installed(value.__module__) else _changing_globals(value)
    elif isinstance(value, type) and not is_of_library(value):
        yield from ((f".{name}", part) for name, part in vars(value).items() if name[:1] != "_" and has_value(part))
    elif is_of_user(value):
        kinds = [kind for kind in type(value).__mro__ if not (is_of_library(kind) or issubclass(kind, Enum))]
        yield from (("", kind) for kind in kinds if not _is_installed(kind.__module__))
    elif hasattr(value, "__dict__") and not isinstance(value, nn.Module | FunctionType | type):
        kind: Any = type(value)
        known = _names_of_class(kind)
        others = [(name, part) for name, part in list(vars(value).items()) if name not in known and name[:1] != "_"]
        yield from ((f".{name}", part) for name, part in others)


def _objects_in_module(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the objects of the user's own classes that a module and those in it have as attributes."""
    for name, part in module.named_modules():
        if is_of_user(part) and not _is_installed(type(part).__module__):
            objects = {key: each for key, each in vars(part).items() if is_of_user(each) and key[:1] != "_"}
            yield from ((f".{name}.{key}" if name else f".{key}", each) for key, each in objects.items())


def _changing_globals(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the globals that a function of the user's assigns, and those that it names and that may change."""
    assigned = _names_in(function.__code__, "STORE_GLOBAL")
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if name in assigned or isinstance(value, _MAY_CHANGE) or (is_of_user(value) and not isinstance(value, type)):
            yield f".{name}", value


@lru_cache(maxsize=4096)
def _is_installed(module: str) -> bool:
    """Return whether a module was installed: what such modules and their classes have, they share with other users."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and file.startswith((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))


@lru_cache
def _names_of_class(kind: Any) -> frozenset[str]:
    """Return the names of the attributes that belong to a class: its own, its fields, and what its methods set."""
    parts = [part for each in kind.__mro__ for part in vars(each).values()]
    functions = [*parts, *(part.fset for part in parts if isinstance(part, property))]
    codes = [each.__code__ for each in functions if isinstance(each, FunctionType)]
    known = frozenset(dir(kind)) | frozenset(getattr(kind, "__dataclass_fields__", ()))
    return known.union(*(_names_in(code, "STORE_ATTR") for code in codes))


@lru_cache(maxsize=4096)
def _names_in(code: CodeType, operation: str) -> frozenset[str]:
    """Return the names with which some code does something, by Python's name for that."""
    return frozenset(step.argval for step in dis.get_instructions(code) if step.opname == operation)
