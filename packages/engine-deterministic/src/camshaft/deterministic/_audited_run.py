"""One training under audit, as `make_run` of `audit_resume` returns it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        to_save: what a checkpoint has: names to objects with `state_dict` and `load_state_dict`, the engine among them.
        others: objects that are looked at as well, by name, where neither the step nor a handler refers to them.
        left_out: objects that may be others after a resume, such as the `Checkpoint` that writes the files.
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
        for name, each in self.to_save.items():
            if not has_state(each):
                raise ArgumentTypeError(f"`to_save[{name!r}]` must have state_dict and load_state_dict, got {each!r}")
        if not any(each is self.engine for each in self.to_save.values()):
            raise ArgumentError(f"`to_save` must have the engine, got {list(self.to_save)}; without it nothing resumes")


MakeRun: TypeAlias = Callable[[Path], AuditedRun]
