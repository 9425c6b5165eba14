"""What everything that takes part in a training is like at some moment, to be compared with another moment."""

from __future__ import annotations

import itertools
import random
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import nn

from camshaft.deterministic._difference import bytes_of, parts_of, short_text
from camshaft.deterministic._inside import GENERATORS, Found, is_of_user, search
from camshaft.engine import Engine, has_state

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_MOST_OBJECTS = 20_000
_CONTAINERS = ("builtins", "collections", "functools", "itertools", "types", "weakref", "_weakrefset", "__main__")
_SHOWING = ("tqdm", "rich", "tensorboard", "mlflow", "matplotlib")  # bars and loggers: nothing depends on them
_CLOSED_LIBRARIES = {*_SHOWING, *sys.stdlib_module_names} - {*_CONTAINERS}


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
        value: tensors, arrays, plain values, and containers of them. Of anything else the type counts.
        where: text that the places begin with.
    """
    return {place: _leaf(part) for place, part in _flat(value, where)}


def snapshot(owners: Mapping[str, Any], skipped: tuple[Any, ...] = ()) -> Leaves:
    """Return what the user's objects are like that can be reached from `owners`, all in one; see `survey`."""
    out: Leaves = {}
    for _, leaves in survey(owners, skipped):
        out |= leaves
    return out


def survey(
    owners: Mapping[str, Any], skipped: tuple[Any, ...] = (), left_out: tuple[Any, ...] = ()
) -> Iterator[tuple[Found, Leaves]]:
    """Yield the user's objects that can be reached from `owners`, and what each is like; no place comes twice.

    That is: random generators, whatever has a `state_dict`, and what functions and objects of the user's own classes
    hold in variables and attributes: numbers, texts, tensors, arrays. Objects of libraries are looked through.

    Args:
        owners: where to begin, by name.
        skipped: objects that are looked through only, such as those that are saved.
        left_out: objects that are not looked into either.
    """
    known = {id(each) for each in skipped}
    closed = {id(each) for each in left_out if not isinstance(each, _PLAIN)}
    used: set[str] = set()
    for found in search(
        *owners.items(), most=_MOST_OBJECTS, closed=lambda value: id(value) in closed or _is_closed(value)
    ):
        if id(found.value) in known:
            continue
        leaves = _leaves_of_object(found)
        if not used.isdisjoint(leaves):  # another object of the same class
            number = next(number for number in itertools.count(2) if f"{found.where} {number}" not in used)
            found = found._replace(where=f"{found.where} {number}")
            leaves = _leaves_of_object(found)
        if leaves:
            used |= {found.where, *leaves}
            yield found, leaves


def differing(before: Leaves, after: Leaves) -> list[str]:
    """Return the places that differ, those in one list as one."""
    return without_numbers([place for place in {**before, **after} if before.get(place) != after.get(place)])


def without_numbers(places: Iterable[str]) -> list[str]:
    """Return the places, those in one list as one."""
    return [*dict.fromkeys(re.sub(r"(\[\d+\])+$", "", place) for place in places)]


def _is_closed(value: Any) -> bool:
    """Return whether an object leads nowhere: it opens data for an engine, or is a bar, a logger, a file, a thread."""
    module = type(value).__module__
    if module.startswith("camshaft.deterministic."):
        return not isinstance(value, Engine)
    return module.split(".")[0] in _CLOSED_LIBRARIES and not isinstance(value, random.Random)


def _leaves_of_object(found: Found) -> Leaves:
    where, value, is_own, _ = found
    if isinstance(value, GENERATORS):
        return {f"{where} (random generator)": Leaf(_hash(repr(_generator_state(value))), "its state")}
    if isinstance(value, Engine | type):
        return {}
    if isinstance(value, nn.Module):
        return leaves_of({**value.state_dict(), **beside_state(value)}, where)
    if has_state(value):
        return leaves_of(value.state_dict(), where)
    if is_own and isinstance(value, (*_PLAIN, torch.Tensor, np.ndarray, np.generic)):
        return leaves_of(value, where)
    return {f"len({where})": _leaf(len(value))} if is_own and type(value) in (list, dict, set) else {}


def beside_state(module: nn.Module) -> dict[str, Any]:
    """Return what a module has beside what it saves: other buffers, generators, numbers that it counts."""
    saved = module.state_dict()
    state: dict[str, Any] = {name: buffer for name, buffer in module.named_buffers() if name not in saved}
    for name, part in module.named_modules():
        for attribute, value in vars(part).items():
            place = f"{name}.{attribute}" if name else attribute
            if isinstance(value, GENERATORS):
                state[f"{place} (random generator)"] = repr(_generator_state(value))
            elif is_of_user(part) and isinstance(value, (*_PLAIN, torch.Tensor)) and attribute[:1] != "_":
                state[place] = value
    return state


def _generator_state(generator: Any) -> Any:
    read: Callable[[], Any] | None = getattr(generator, "get_state", None) or getattr(generator, "getstate", None)
    state = generator.bit_generator.state if read is None else read()
    return state.tolist() if isinstance(state, torch.Tensor) else _listed(state)


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _listed(part) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_listed(part) for part in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def _flat(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    parts = parts_of(value)
    if parts is None:
        yield where, value
        return
    for name, part in parts.items():
        yield from _flat(part, where + name)


def _leaf(value: Any) -> Leaf:
    if isinstance(value, torch.Tensor):
        return Leaf(_hash(f"{value.dtype} {tuple(value.shape)} ", bytes_of(value)), _text_of_numbers(value))
    if isinstance(value, np.ndarray):
        content = repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes()
        return Leaf(_hash(f"{value.dtype} {value.shape} ", content), _text_of_numbers(value))
    if isinstance(value, (*_PLAIN, np.generic)):
        return Leaf(_hash(f"{type(value).__name__} {value!r}"), short_text(value))
    return Leaf(_hash(type(value).__qualname__), f"a {type(value).__qualname__}")


def _text_of_numbers(value: Any) -> str:
    """Return the number, or the shape and the first numbers; cheap, unlike the text that torch makes."""
    if value.ndim == 0:
        return short_text(value.item())
    is_tensor = isinstance(value, torch.Tensor)
    first = value.detach().flatten()[:3].tolist() if is_tensor else value.flat[:3].tolist()
    numbers = ", ".join(f"{each:.6g}" if isinstance(each, float) else str(each) for each in first)
    more = ", ..." if (value.numel() if is_tensor else value.size) > 3 else ""
    return f"[{numbers}{more}] of shape {tuple(value.shape)}"


def _hash(text: str, content: bytes = b"") -> str:
    hasher = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8)
    hasher.update(content)
    return hasher.hexdigest()
