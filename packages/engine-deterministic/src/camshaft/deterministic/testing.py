"""Checks that your data and your training resume exactly, for tests of your own."""

from __future__ import annotations

import copy
import io
import random
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch

from camshaft.deterministic._audit import AuditError, Progress, audit_resume
from camshaft.deterministic._audit_report import AuditReport, Finding
from camshaft.deterministic._audited_run import AuditedRun
from camshaft.deterministic._difference import find_difference
from camshaft.deterministic._engine import DeterministicEngine
from camshaft.engine import EngineWarning, Events

__all__ = ["AuditError", "AuditReport", "AuditedRun", "Finding", "Progress", "audit_resume", "check_data"]

_EVENTS = [event for event in Events if event not in (Events.STARTED, Events.EXCEPTION_RAISED, Events.INTERRUPT)]
_SAVED_AT = [event for event in Events if event not in (Events.EXCEPTION_RAISED, Events.INTERRUPT, Events.TERMINATE)]


class _Saved(NamedTuple):
    """A state of the engine, and how many entries the log had then."""

    done: int
    event: str
    state: bytes


class _Trial:
    """A run whose step draws random numbers; it writes down its events, its batches, and those numbers."""

    def __init__(self, ends_early: Iterable[int]) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.saved: list[_Saved] = []
        self.engine: DeterministicEngine[Any, Any] = DeterministicEngine(self._step)
        for event in _EVENTS:
            self.engine.add_event_handler(event, self._note, event.name)
        early = list(ends_early)
        if early:
            self.engine.add_event_handler(Events.ITERATION_COMPLETED(once=early), lambda: self.engine.terminate_epoch())

    def save_everywhere(self) -> None:
        for event in _SAVED_AT:
            self.engine.add_event_handler(event, lambda: self.engine.at_safe_point(self._save))

    def run(self, data: Any, **limits: Any) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the run is finished", EngineWarning)
            self.engine.run(data, **limits)

    def _step(self, engine: Any, batch: Any) -> None:
        drawn = random.random(), float(np.random.rand()), float(torch.rand(()))
        self.log.append(("batch", engine.state.iteration, copy.deepcopy(batch), drawn))

    def _note(self, name: str) -> None:
        self.log.append((name, self.engine.state.epoch, self.engine.state.iteration))

    def _save(self) -> None:
        buffer = io.BytesIO()
        torch.save(self.engine.state_dict(), buffer)
        name = getattr(self.engine.last_event_name, "name", "")
        self.saved.append(_Saved(len(self.log), name, buffer.getvalue()))


def check_data(
    make_data: Callable[[], Any],
    *,
    max_epochs: int = 2,
    epoch_length: int | None = None,
    ends_early: Iterable[int] = (),
    every: int = 1,
    resume_with: Callable[[], Any] | None = None,
) -> int:
    """Run over data, resume from every event, and compare: what every kind of data has to pass.

    A run is saved at all of its events. From each state a new engine goes on with new data, and must give the same
    batches, events and random numbers as the run that was not stopped. The states pass through `torch.save` and a
    safe `torch.load`. Afterwards the generators of the process may stand anywhere.

    Args:
        make_data: returns the data as a new process would make it.
        max_epochs: epochs to run.
        epoch_length: iterations in an epoch, default `len(data)`.
        ends_early: iterations after which the epoch is ended with `terminate_epoch()`.
        every: resume from every n-th saved state only.
        resume_with: returns the data for the resumed runs, with another number of workers, say; None: `make_data`.

    Returns:
        How many runs were resumed.

    Raises:
        AssertionError: a resumed run went another way; the text says where, and in what.
        ResumeMismatch: the engine has noticed that the data came out differently.

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> check_data(lambda: DataLoader(range(6), batch_size=2, shuffle=True), max_epochs=1)
        16
    """
    whole = _Trial(ends_early)
    whole.save_everywhere()
    whole.run(make_data(), max_epochs=max_epochs, epoch_length=epoch_length, seed=7)
    chosen = whole.saved[::every]
    for saved in chosen:
        resumed = _Trial(ends_early)
        resumed.engine.load_state_dict(torch.load(io.BytesIO(saved.state), weights_only=True))
        torch.seed()
        random.seed()
        np.random.seed()
        resumed.run((resume_with or make_data)())
        _compare(whole.log[saved.done :], resumed.log, saved)
    return len(chosen)


def _compare(expected: list[tuple[Any, ...]], happened: list[tuple[Any, ...]], saved: _Saved) -> None:
    """Raise AssertionError if a resumed run has not done what was expected."""
    for number, (one, other) in enumerate(zip(expected, happened, strict=False)):
        found = find_difference(one, other, "")
        if found is not None:
            where, before, after = found
            raise AssertionError(
                f"saved at {saved.event}, entry {number} after resuming: {one[0]}{where} was {before} and is {after}"
            )
    if len(expected) != len(happened):
        rest = (expected if len(expected) > len(happened) else happened)[min(len(expected), len(happened))]
        raise AssertionError(
            f"saved at {saved.event}: {len(expected)} entries were to come after resuming and {len(happened)} came; "
            f"the first that only one of them has is {rest[:3]}"
        )
