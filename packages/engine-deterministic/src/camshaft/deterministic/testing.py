"""Checks that your data and your training resume exactly, for tests of your own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from camshaft.deterministic._audit._audit import Progress, audit_resume
from camshaft.deterministic._audit._audit_report import AuditReport, Finding
from camshaft.deterministic._audit._audited_run import AuditedRun, AuditError
from camshaft.deterministic._audit._unsaved import Unsaved
from camshaft.deterministic._checks._maker import require_maker
from camshaft.deterministic._checks._resume_check import ResumeDifference, ResumeReport, check_resume
from camshaft.deterministic._checks._trial import Entry, Saved, Trial, resume

__all__ = [
    "AuditError",
    "AuditReport",
    "AuditedRun",
    "Finding",
    "Progress",
    "ResumeDifference",
    "ResumeReport",
    "Unsaved",
    "audit_resume",
    "check_data",
    "check_resume",
]


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
        NotCallableError: `make_data` or `resume_with` is the data itself, say.
        ArgumentTypeError: the data gives something that a safe `torch.load` does not take.

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> check_data(lambda: DataLoader(range(6), batch_size=2, shuffle=True), max_epochs=1)
        16
    """
    require_maker("make_data", make_data)
    if resume_with is not None:
        require_maker("resume_with", resume_with)
    whole = Trial(ends_early)
    whole.save_everywhere()
    whole.run(make_data(), max_epochs=max_epochs, epoch_length=epoch_length, seed=7)
    chosen = whole.saved[::every]
    for saved in chosen:
        _compare(whole.log[saved.done :], resume(saved, (resume_with or make_data)(), ends_early), saved)
    return len(chosen)


def _compare(expected: list[Entry], happened: list[Entry], saved: Saved) -> None:
    """Raise AssertionError if a resumed run has not done what was expected."""
    for one, other in zip(expected, happened, strict=False):
        found = one.difference(other)
        if found is not None:
            where, before, after = found
            raise AssertionError(f"saved at {saved.place}: {where} was {before} and is {after}")
    if len(expected) != len(happened):
        rest = (expected if len(expected) > len(happened) else happened)[min(len(expected), len(happened))]
        raise AssertionError(
            f"saved at {saved.place}: {len(expected)} entries were to come after resuming and {len(happened)} came; "
            f"the first that only one of them has is {tuple(rest[:3])}"
        )
