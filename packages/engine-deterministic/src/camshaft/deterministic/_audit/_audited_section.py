"""A part of a training under audit, and what has happened in it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from camshaft.deterministic._audit._leaf import Leaves
from camshaft.deterministic._audit._part import Part
from camshaft.engine import Events

Files: TypeAlias = dict[str, tuple[int, int]]


class Section(NamedTuple):
    """A part of a training that goes on without a stop.

    Attributes:
        seed: where the generators of the process stand before `make_run` is called.
        start_seed: where they stand before `start` is called.
        checkpoint: what it begins with, None for the beginning.
        save_at: after which iteration a checkpoint is taken, None for none.
        save_on: at which event.
        iterations: after how many it is ended; None for the end.
        length: how many the whole training has, where that is known.
    """

    seed: int
    start_seed: int
    checkpoint: bytes | None = None
    save_at: int | None = None
    save_on: Events = Events.ITERATION_COMPLETED
    iterations: int | None = None
    length: int | None = None


class Checkpoint(NamedTuple):
    """A checkpoint of the audit.

    Attributes:
        iteration: after which iteration it was taken.
        event: at which event.
        content: the states in it, as a file has them.
    """

    iteration: int
    event: Events
    content: bytes

    @property
    def place(self) -> str:
        """Where it was taken, for people."""
        end = ", at EPOCH_COMPLETED" if self.event is Events.EPOCH_COMPLETED else ""
        return f"after iteration {self.iteration}{end}"


class Seen(NamedTuple):
    """What everything was like at one moment.

    Attributes:
        saved: what is in `to_save`, the engine left out.
        others: what the user's code has beside that.
    """

    saved: tuple[Part, ...]
    others: tuple[Part, ...]


@dataclass
class Record:
    """What has happened in a section.

    Attributes:
        steps: batch and output of each iteration, by its number.
        seen: what everything was like after the section was resumed and after the checkpoint was taken, before the next
            iteration and the one behind; by how many were done.
        resumed_at: how many iterations were done when it was resumed; None if it was not.
        loaded: what is in `to_save`, right after it was loaded.
        checkpoint: the one that was taken.
        saved: what is in `to_save`, as the checkpoint has it.
        files: of the files in the folder, when each was written last, and its size, when the checkpoint was taken.
        files_at_start: the same, before the section began.
        end: how everything was at the end; None for a section that was stopped.
        metrics: those of the engine after each epoch, by its number.
        engine_end: state of the engine at the end.
        metrics_end: its metrics.
        epoch_length: that of the engine at the end.
        error: what a resumed run has raised; None for nothing.
        is_deterministic: whether the engine is a `DeterministicEngine`.
        warned: what the engine has warned of.
    """

    steps: dict[int, tuple[Leaves, Leaves]] = field(default_factory=dict)
    seen: dict[int, Seen] = field(default_factory=dict)
    resumed_at: int | None = None
    loaded: tuple[Part, ...] = ()
    checkpoint: Checkpoint | None = None
    saved: tuple[Part, ...] = ()
    files: Files = field(default_factory=dict)
    files_at_start: Files = field(default_factory=dict)
    end: Seen | None = None
    metrics: dict[int, Leaves] = field(default_factory=dict)
    engine_end: Leaves = field(default_factory=dict)
    metrics_end: Leaves = field(default_factory=dict)
    epoch_length: int | None = None
    error: str | None = None
    is_deterministic: bool = True
    warned: list[str] = field(default_factory=list)


def list_files(folder: Path) -> Files:
    """Return when each file in a folder was written last, in nanoseconds, and its size, by its path in there."""
    found: Files = {}
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another process may remove it
            if file.is_file():
                found[str(file.relative_to(folder))] = file.stat().st_mtime_ns, file.stat().st_size
    return found
