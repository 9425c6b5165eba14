"""One training under audit, as `make_run` of `audit_resume` returns it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineError, has_state


class AuditError(EngineError, RuntimeError):
    """A training that cannot be audited: it leaves the process, fails in another one, or is over too soon."""


@dataclass(frozen=True)
class AuditedRun:
    """A training that is ready to begin, as `make_run` of `audit_resume` returns it.

    Attributes:
        engine: the engine that trains.
        start: runs it; also when it goes on from a checkpoint, so it gives `run` the same arguments as ever.
        to_save: what a checkpoint has: names to objects with `state_dict` and `load_state_dict`, the engine among them;
            also names to lists and mappings of such objects, nested as one likes.
        others: objects that are looked at as well, by name, where neither the step nor a handler refers to them.
        left_out: objects that may be others after a resume. A handler that saves the engine, as a `Checkpoint` does
            that has it in its `to_save`, is left out by itself.
    """

    engine: Engine[Any, Any]
    start: Callable[[], object]
    to_save: Mapping[str, Any]
    others: Mapping[str, Any] = field(default_factory=dict)
    left_out: Sequence[Any] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.engine, Engine):
            raise ArgumentTypeError(f"`engine` must be an Engine, got {self.engine!r}")
        if not callable(self.start):
            raise ArgumentTypeError(f"`start` must be callable without arguments, got {self.start!r}")
        if not isinstance(self.to_save, Mapping):
            raise ArgumentTypeError(f"`to_save` must be a mapping of names to objects, got {self.to_save!r}")
        objects = objects_in(self.to_save)
        for name, each in objects.items():
            if not has_state(each):
                raise ArgumentTypeError(f"`{name}` of `to_save` must have state_dict and load_state_dict, got {each!r}")
        if not any(each is self.engine for each in objects.values()):
            raise ArgumentError(f"`to_save` must have the engine, got {list(self.to_save)}; without it nothing resumes")


MakeRun: TypeAlias = Callable[[Path], AuditedRun]


def objects_in(to_save: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objects in `to_save` by how they are reached: `model`, `optimizers[0]`, `heads['left']`."""
    return {name: each for key, value in to_save.items() for name, each in _reached(str(key), value)}


def _reached(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    is_container = isinstance(value, Mapping | list | tuple) and not has_state(value)
    if not is_container:
        yield name, value
        return
    for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
        yield from _reached(f"{name}[{key!r}]", part)
