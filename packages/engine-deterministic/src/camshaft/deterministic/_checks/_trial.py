"""A run on trial: writes down what it gets, is saved everywhere, and is resumed with new data."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch

from camshaft.deterministic._checks._difference import copy_of, find_difference
from camshaft.deterministic._checks._safe_state import read_safely, write_safely
from camshaft.deterministic._engine import DeterministicEngine
from camshaft.deterministic._mismatch import OnMismatch
from camshaft.engine import EngineWarning, Events

_EVENTS = [event for event in Events if event not in (Events.STARTED, Events.EXCEPTION_RAISED, Events.INTERRUPT)]
_SAVED_AT = [event for event in Events if event not in (Events.EXCEPTION_RAISED, Events.INTERRUPT, Events.TERMINATE)]


class Entry(NamedTuple):
    """Something that has happened.

    Attributes:
        name: name of the event; "batch" for a step.
        iteration: number of the iteration.
        content: the epoch, or the batch of a step.
        drawn: random numbers that the step has drawn.
        place: of a batch, its number in which pass, for people.
    """

    name: str
    iteration: int
    content: Any
    drawn: tuple[float, ...] = ()
    place: str = ""

    def difference(self, other: Entry) -> tuple[str, str, str] | None:
        """Return where something else has happened, in the words of data, and both as text; None if it is the same.

        Args:
            other: what has happened instead.
        """
        if self.name != other.name:
            return f"the event in iteration {self.iteration}", self.name, other.name
        what = self.place or f"the epoch at {self.name}"
        pairs = {
            f"the iteration of {what}": (self.iteration, other.iteration),
            what: (self.content, other.content),
            f"the numbers drawn by the step on {what}": (self.drawn, other.drawn),
        }
        for where, (one, another) in pairs.items():
            found = find_difference(one, another, "")
            if found is not None:
                part, before, after = found
                return f"{where} at {part}" if part else where, before, after
        return None


class Saved(NamedTuple):
    """A state of the engine.

    Attributes:
        done: how many entries the log had then.
        event: the event at which it was saved.
        iteration: how many iterations were done.
        state: the state, as a file has it.
    """

    done: int
    event: str
    iteration: int
    state: bytes

    @property
    def place(self) -> str:
        """Where that was, for people."""
        return f"{self.event} after {self.iteration} iterations"


class Trial:
    """A run whose step draws random numbers; it writes down its events, its batches, and those numbers.

    Attributes:
        log: what has happened.
        saved: the states that were saved.
        engine: the engine.

    Args:
        ends_early: iterations after which the epoch is ended.
        on_mismatch: as for `DeterministicEngine`.
    """

    def __init__(self, ends_early: Iterable[int] = (), on_mismatch: OnMismatch = "error") -> None:
        self.log: list[Entry] = []
        self.saved: list[Saved] = []
        self.engine: DeterministicEngine[Any, Any] = DeterministicEngine(self._step, on_mismatch=on_mismatch)
        for event in _EVENTS:
            self.engine.add_event_handler(event, self._note, event.name)
        early = list(ends_early)
        if early:
            self.engine.add_event_handler(Events.ITERATION_COMPLETED(once=early), lambda: self.engine.terminate_epoch())

    def save_everywhere(self) -> None:
        """Save the engine at each of its events."""
        for event in _SAVED_AT:
            self.engine.add_event_handler(event, lambda: self.engine.at_safe_point(self._save))

    def run(self, data: Any, **limits: Any) -> None:
        """Run over data."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the run is finished", EngineWarning)
            self.engine.run(data, **limits)

    def _step(self, engine: Any, batch: Any) -> None:
        drawn = random.random(), float(np.random.rand()), float(torch.rand(()))
        position = self.engine.position
        place = f"batch {position.batch} of pass {position.data_pass}"
        self.log.append(Entry("batch", engine.state.iteration, copy_of(batch), drawn, place))

    def _note(self, name: str) -> None:
        self.log.append(Entry(name, self.engine.state.iteration, self.engine.state.epoch))

    def _save(self) -> None:
        content = write_safely(self.engine.state_dict(), self.engine.state.dataloader)
        name = getattr(self.engine.last_event_name, "name", "")
        self.saved.append(Saved(len(self.log), name, self.engine.position.iteration, content))


def resume(saved: Saved, data: Any, ends_early: Iterable[int] = (), on_mismatch: OnMismatch = "error") -> list[Entry]:
    """Go on from a state with new data, as another process would, and return what has happened.

    Raises:
        ResumeMismatch: the engine has noticed that it would go another way.
    """
    resumed = Trial(ends_early, on_mismatch)
    resumed.engine.load_state_dict(read_safely(saved.state))
    torch.seed()
    random.seed()
    np.random.seed()
    resumed.run(data)
    return resumed.log
