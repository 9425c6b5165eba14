"""The variables in which users' objects may remember something: their attributes, and those of what is inside."""

from __future__ import annotations

import dis
import sys
import sysconfig
from array import array
from collections import UserDict, UserList, deque
from collections.abc import Iterator, Sequence
from enum import Enum
from functools import lru_cache
from types import CodeType, FunctionType, MemberDescriptorType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from camshaft.deterministic._inside import GENERATORS, is_cache, is_of_user, is_pickled_in_its_own_way, refuses
from camshaft.deterministic._memory._kept_array import PLAIN
from camshaft.engine import Engine, has_state

_MOST_HOLDERS = 100
# Objects of the user's in a collection that is longer are data.
_MOST_PARTS = 16
# A longer one in a dataset is data, whatever it holds.
_MOST_ITEMS = 10_000
_MOST_STEPS = 2  # from a method to a global that a function changes which it calls
_COLLECTIONS = (list, dict, set, deque)
_CHANGED_IN_PLACE = (*_COLLECTIONS, bytearray, array, np.ndarray, torch.Tensor)
_TRANSPARENT = (FunctionType, SimpleNamespace, UserDict, UserList)
_INSTALLED = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
_FURTHER = ">"  # in the names of what only functions lead to
ITSELF = "itself"  # the name of what an object has in it that is a collection
# What saves itself, is saved by others, or is seeded.
_CLOSED = (*GENERATORS, DataLoader, Engine, torch.nn.Module, type, Enum)


class Asked(NamedTuple):
    """A closed object, of which code elsewhere names some attributes.

    Attributes:
        closed: the object.
        names: the attributes that the code names.
    """

    closed: Any
    names: frozenset[str]


class Variable(NamedTuple):
    """A variable.

    Attributes:
        holder: the object, the class or the function that has it.
        name: its name there.
    """

    holder: Any
    name: str

    def read(self) -> Any:
        """Return its value."""
        holder, name = self
        if isinstance(holder, FunctionType):
            return _read_of_function(holder, name)
        if name == ITSELF:
            return holder
        own = getattr(holder, "__dict__", {})
        return own[name] if name in own else getattr(holder, name)

    def write(self, value: Any) -> None:
        """Set it, as a plain assignment does; a class has no say in it."""
        holder, name = self
        if isinstance(holder, FunctionType):
            _write_of_function(holder, name, value)
        elif name == ITSELF:
            return  # it was changed in place
        elif isinstance(holder, type):
            setattr(holder, name, value)
        elif (slot := _slots(holder).get(name)) is not None:
            slot.__set__(holder, value)
        else:
            vars(holder)[name] = value

    def remove(self) -> None:
        """Let it be gone, if it is one of an object, of a class or of a function."""
        if isinstance(self.holder, type):
            if self.name in vars(self.holder):
                delattr(self.holder, self.name)
        else:
            getattr(self.holder, "__dict__", {}).pop(self.name, None)


def holders_of(owner: Any, closed: Sequence[Any] = ()) -> dict[str, Any]:
    """Return what has the variables of an object: itself and what it has inside, by the names that lead there.

    That is: its class; its methods, and the functions and classes of the same module that they name, up to two steps
    away, if it is of the object's own package; and the same of the functions and the objects of the user's own classes
    in attributes and closures.

    Args:
        owner: the object.
        closed: objects that are not looked into, but for attributes that the functions among these name.
    """
    found: dict[str, Any] = {}
    asked: dict[str, Any] = {}
    unseen, seen = {id(each): each for each in closed}, {*map(id, closed)}
    waiting = deque([("", owner, 0)])
    while waiting and len(found) < _MOST_HOLDERS:
        prefix, holder, steps = waiting.popleft()
        if id(holder) in seen and prefix:
            if unseen.pop(id(holder), None) is not None:
                asked[prefix] = holder
            continue
        seen.add(id(holder))
        found[prefix] = holder
        waiting.extend((f"{prefix}{name}.", part, steps) for name, part in (*_definitions(holder), *_parts(holder)))
        is_at_home = _package_of(holder) == _package_of(type(owner))  # globals of libraries are their own affair
        if isinstance(holder, FunctionType) and steps < _MOST_STEPS and is_at_home:
            waiting.extend((f"{prefix}{name}.", part, steps + 1) for name, part in _neighbours(holder))
    functions = [each for each in found.values() if isinstance(each, FunctionType)] if asked else []
    return found | {prefix: Asked(each, _named_of(each, functions)) for prefix, each in asked.items()}


def _named_of(closed: Any, functions: Sequence[FunctionType]) -> frozenset[str]:
    """Return the attributes of an object that functions name, and those that its methods name which they name."""
    methods = {name: each for kind in type(closed).__mro__[::-1] for name, each in vars(kind).items()}
    names: set[str] = set()
    waiting = {name for function in functions for name in _attribute_names(function.__code__)}
    while waiting:
        name = waiting.pop()
        names.add(name)
        for function in _functions(methods.get(name)):
            waiting |= _attribute_names(function.__code__) - names
    return frozenset(names)


def variables_of(holders: dict[str, Any]) -> dict[str, Variable]:
    """Return the variables of `holders_of` an object, by the names that lead to them.

    That is: attributes, what functions have in closures, and the globals that they change.
    """
    found: dict[str, Variable] = {}
    for prefix, holder in holders.items():
        for name in _names(holder, is_near=_FURTHER not in prefix):
            variable = Variable(_itself(holder), name)
            if (name != ITSELF or prefix[:-1] not in found) and not refuses(variable.read()):
                found[prefix + name] = variable
    return found


def variable_named(name: str, holders: dict[str, Any]) -> Variable | None:
    """Return a variable, also one that is not there yet; None where what has it is not."""
    before, dot, last = name.rpartition(".")
    holder = _itself(holders.get(before + dot))
    can_have = hasattr(holder, "__dict__") or last in _slots(holder) or last == ITSELF
    return Variable(holder, last) if before + dot in holders and can_have else None


def _itself(holder: Any) -> Any:
    return holder.closed if isinstance(holder, Asked) else holder


def _has_variables(value: Any) -> bool:
    if refuses(value):
        return False
    if isinstance(value, _TRANSPARENT):
        return True
    if isinstance(value, _CLOSED) or not is_of_user(value) or has_state(value) or _is_library_value(type(value)):
        return False
    return hasattr(value, "__dict__") or hasattr(type(value), "__slots__")


def _is_library_value(kind: type) -> bool:
    """Return whether a class of an installed library says itself what its objects are: other attributes are caches."""
    path = str(getattr(sys.modules.get(kind.__module__), "__file__", ""))
    return path.startswith(_INSTALLED) and is_pickled_in_its_own_way(kind)


def _names(holder: Any, *, is_near: bool = True) -> Iterator[str]:
    """Yield the names of an object's variables; of functions further away, only such globals as they assign."""
    if isinstance(holder, Asked):
        attributes = getattr(holder.closed, "__dict__", {})
        yield from sorted(name for name in holder.names & attributes.keys() if _is_short(attributes[name]))
    elif isinstance(holder, FunctionType):
        yield from _cells(holder)
        yield from vars(holder)
        yield from (str(number) for number, _ in enumerate(holder.__defaults__ or ()))
        yield from (name for name in _global_names(holder.__code__) if _is_own_global(holder, name, is_near=is_near))
    elif isinstance(holder, type):
        values = vars(holder).items()
        yield from (name for name, value in values if not name.startswith("__") and not callable(value))
    else:
        if isinstance(holder, _COLLECTIONS):
            yield ITSELF
        yield from (name for name in getattr(holder, "__dict__", ()) if not is_cache(holder, name))
        yield from (name for name in _slots(holder) if hasattr(holder, name))


def _parts(holder: Any) -> Iterator[tuple[str, Any]]:
    """Yield the objects with variables that are the values of variables, or in a short collection that is one."""
    for name in _names(holder):
        value = Variable(holder, name).read()
        if refuses(value):
            continue
        if name != ITSELF and _has_variables(value):
            yield name, value
        yield from (
            (f"{name}[{key!r}]", part)
            for key, part in _few_items(value)
            if _has_variables(part) and type(key) in (int, str)
        )


def _is_short(value: Any) -> bool:
    """Return whether something in a dataset may be a memory: numbers, arrays, and collections that are no data."""
    if isinstance(value, _COLLECTIONS):
        return len(value) <= _MOST_ITEMS
    return isinstance(value, (*PLAIN, np.ndarray, torch.Tensor))


def _few_items(value: Any) -> list[tuple[Any, Any]]:
    """Return what a short list, tuple or dict has; methods of a subclass are not asked."""
    base: Any = next((each for each in (list, tuple, dict) if isinstance(value, each)), None)
    if base is None or base.__len__(value) > _MOST_PARTS:
        return []
    return [*(dict.items(value) if base is dict else enumerate(base.__iter__(value)))]


def _neighbours(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the functions and classes of the same module that a function names."""
    for name in _global_names(function.__code__):
        value = function.__globals__.get(name)
        is_function = isinstance(value, FunctionType) and value.__globals__ is function.__globals__
        is_class = isinstance(value, type) and value.__module__ == function.__module__ and not issubclass(value, Enum)
        if is_function or is_class:
            yield _FURTHER + name, value


def _definitions(holder: Any) -> Iterator[tuple[str, Any]]:
    """Yield the classes of an object of the user's, and the methods of a class."""
    if isinstance(holder, type):
        for name, part in vars(holder).items():
            yield from ((f"{name}()", function) for function in _functions(part))
    elif not isinstance(holder, FunctionType) and is_of_user(holder):
        kinds = [kind for kind in type(holder).__mro__ if _is_class_of_user(kind)]
        yield from ((kind.__name__, kind) for kind in kinds)


def _functions(part: Any) -> list[FunctionType]:
    """Return the functions behind something that a class defines."""
    if isinstance(part, property):
        functions = [part.fget, part.fset]
    else:
        functions = [part.__func__ if isinstance(part, classmethod | staticmethod) else part]
    return [each for each in functions if isinstance(each, FunctionType)]


def _package_of(definition: Any) -> str:
    return str(getattr(definition, "__module__", "")).partition(".")[0]


def _is_class_of_user(kind: type) -> bool:
    return kind.__module__.split(".")[0] not in ("builtins", "abc", "typing", "collections", "torch", "camshaft")


def _is_own_global(function: FunctionType, name: str, *, is_near: bool) -> bool:
    """Return whether a global is one that the function changes: it assigns it, or may change it in place."""
    if name not in function.__globals__ or refuses(function.__globals__[name]):
        return False
    is_assigned = _global_names(function.__code__)[name]
    return is_assigned or (is_near and isinstance(function.__globals__[name], _CHANGED_IN_PLACE))


@lru_cache(maxsize=1024)
def _global_names(code: CodeType) -> dict[str, bool]:
    """Return the globals that some code reads or assigns, and whether it assigns them."""
    names: dict[str, bool] = {}
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "STORE_GLOBAL"):
            names[step.argval] = names.get(step.argval, False) or step.opname == "STORE_GLOBAL"
    for part in code.co_consts:
        if isinstance(part, CodeType):
            for name, is_assigned in _global_names(part).items():
                names[name] = names.get(name, False) or is_assigned
    return names


@lru_cache(maxsize=1024)
def _attribute_names(code: CodeType) -> frozenset[str]:
    """Return the names of attributes that some code reads, of whatever object."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_ATTR", "LOAD_METHOD")}
    inner = [_attribute_names(part) for part in code.co_consts if isinstance(part, CodeType)]
    return frozenset(names.union(*inner))


def _read_of_function(function: FunctionType, name: str) -> Any:
    cell = _cells(function).get(name)
    if cell is not None:
        return cell.cell_contents
    if name.isdecimal():
        return (function.__defaults__ or ())[int(name)]
    return vars(function)[name] if name in vars(function) else function.__globals__[name]


def _write_of_function(function: FunctionType, name: str, value: Any) -> None:
    cell = _cells(function).get(name)
    if cell is not None:
        cell.cell_contents = value
    elif name.isdecimal():
        defaults = [*(function.__defaults__ or ())]
        defaults[int(name)] = value
        function.__defaults__ = tuple(defaults)
    elif name in _global_names(function.__code__) and name not in vars(function):
        function.__globals__[name] = value
    else:
        vars(function)[name] = value


def _cells(function: FunctionType) -> dict[str, Any]:
    """Return the cells of a function's closure that are filled."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell for name, cell in cells if _is_filled(cell)}


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # asked whether it raises
    except ValueError:
        return False
    return True


def _slots(holder: Any) -> dict[str, MemberDescriptorType]:
    return {
        name: member
        for kind in type(holder).__mro__
        for name, member in vars(kind).items()
        if isinstance(member, MemberDescriptorType) and hasattr(kind, "__slots__")
    }
