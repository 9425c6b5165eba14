"""The variables in which users' objects may remember something: their attributes, and those of what is inside."""

from __future__ import annotations

import dis
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from types import CodeType, FunctionType, MemberDescriptorType, SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from camshaft.deterministic._inside import GENERATORS, is_of_user
from camshaft.engine import Engine, has_state

_MOST_HOLDERS = 100
_CHANGED_IN_PLACE = (list, dict, set, deque, np.ndarray, torch.Tensor)
# What saves itself, is saved by others, or is seeded.
_CLOSED = (*GENERATORS, DataLoader, Engine, torch.nn.Module, type)


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
            cell = _cells(holder).get(name)
            return holder.__globals__[name] if cell is None else cell.cell_contents
        own = getattr(holder, "__dict__", {})
        return own[name] if name in own else getattr(holder, name)

    def write(self, value: Any) -> None:
        """Set it, as a plain assignment does; a class has no say in it."""
        holder, name = self
        if isinstance(holder, FunctionType):
            cell = _cells(holder).get(name)
            if cell is None:
                holder.__globals__[name] = value
            else:
                cell.cell_contents = value
        elif isinstance(holder, type):
            setattr(holder, name, value)
        elif (slot := _slots(holder).get(name)) is not None:
            slot.__set__(holder, value)
        else:
            vars(holder)[name] = value

    def remove(self) -> None:
        """Let it be gone, if it is one of an object."""
        if not isinstance(self.holder, FunctionType | type):
            getattr(self.holder, "__dict__", {}).pop(self.name, None)


def variables_of(owner: Any, closed: Sequence[Any] = ()) -> dict[str, Variable]:
    """Return the variables of an object and of what it has inside, by the names that lead to them.

    That is: attributes, also those of its class; what its methods have in closures, and the globals that they change;
    and the same of the functions and the objects of the user's own classes among them.

    Args:
        owner: the object.
        closed: objects that are not looked into.
    """
    found: dict[str, Variable] = {}
    seen = {id(owner), *map(id, closed)}
    waiting = deque([("", owner)])
    while waiting and len(seen) < _MOST_HOLDERS + len(closed):
        prefix, holder = waiting.popleft()
        for name in _names(holder):
            variable = Variable(holder, name)
            found.setdefault(prefix + name, variable)
            value = variable.read()
            if _has_variables(value) and id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{prefix}{name}.", value))
        for name, part in _definitions(holder):
            if id(part) not in seen:
                seen.add(id(part))
                waiting.append((f"{prefix}{name}.", part))
    return found


def variable_named(owner: Any, name: str, variables: dict[str, Variable]) -> Variable | None:
    """Return a variable of `variables_of(owner)`, also one that is not there yet; None where its holder is not."""
    if name in variables:
        return variables[name]
    prefix, _, last = name.rpartition(".")
    if not prefix:
        return Variable(owner, last) if hasattr(owner, "__dict__") or last in _slots(owner) else None
    holder = variables[prefix].read() if prefix in variables else None
    return Variable(holder, last) if hasattr(holder, "__dict__") and not isinstance(holder, FunctionType) else None


def _has_variables(value: Any) -> bool:
    if isinstance(value, FunctionType | SimpleNamespace):
        return True
    if isinstance(value, _CLOSED) or not is_of_user(value) or has_state(value):
        return False
    return hasattr(value, "__dict__") or hasattr(type(value), "__slots__")


def _names(holder: Any) -> Iterator[str]:
    if isinstance(holder, FunctionType):
        yield from _cells(holder)
        yield from (name for name in _global_names(holder.__code__) if _is_own_global(holder, name))
    elif isinstance(holder, type):
        values = vars(holder).items()
        yield from (name for name, value in values if not name.startswith("__") and not callable(value))
    else:
        yield from getattr(holder, "__dict__", ())
        yield from (name for name in _slots(holder) if hasattr(holder, name))


def _definitions(holder: Any) -> Iterator[tuple[str, Any]]:
    """Yield the classes of an object of the user's, and the methods of a class."""
    if isinstance(holder, type):
        yield from ((f"{name}()", part) for name, part in vars(holder).items() if isinstance(part, FunctionType))
    elif not isinstance(holder, FunctionType) and is_of_user(holder):
        kinds = [kind for kind in type(holder).__mro__ if _is_class_of_user(kind)]
        yield from ((kind.__name__, kind) for kind in kinds)


def _is_class_of_user(kind: type) -> bool:
    return kind.__module__.split(".")[0] not in ("builtins", "abc", "typing", "collections", "torch", "camshaft")


def _is_own_global(function: FunctionType, name: str) -> bool:
    """Return whether a global is one that the function changes: it assigns it, or changes it in place."""
    if name not in function.__globals__:
        return False
    is_assigned = _global_names(function.__code__)[name]
    return is_assigned or isinstance(function.__globals__[name], _CHANGED_IN_PLACE)


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
