"""Draw some data, stop, resume, and tell in which batch it first comes out differently, and why it may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from camshaft.deterministic._audit._audit_report import as_times
from camshaft.deterministic._audit._leaf import Leaves, differing
from camshaft.deterministic._audit._snapshot import GENERATOR, snapshot
from camshaft.deterministic._audit._unsaved import join_names
from camshaft.deterministic._checks._maker import require_maker
from camshaft.deterministic._checks._reason import explain
from camshaft.deterministic._checks._trial import Entry, Saved, Trial, resume
from camshaft.deterministic._mismatch import ResumeMismatch
from camshaft.engine import EngineError, as_integer


class ResumeDifference(NamedTuple):
    """What went another way in one resumed run.

    Attributes:
        saved_at: where the run was saved: the event, and how many iterations were done.
        workers: the numbers of workers of the saved run and of the resumed one; None where they were not chosen.
        where: the first part that differs: the batch, and the field and the sample in it; "" if that is not known.
        before, after: that part without a stop, and after the resume, as text. After a refusal, the run is resumed
            again and allowed to go on, to find out.
        refused: what the engine has said if it has refused to go on; "" if it went on.
    """

    saved_at: str
    workers: tuple[int, int] | None
    where: str
    before: str
    after: str
    refused: str = ""

    def __str__(self) -> str:
        workers = "" if self.workers is None else f", with {self.workers[0]} workers and resumed with {self.workers[1]}"
        what = [f"{self.where} was {self.before} and is {self.after}"] if self.where else []
        what += [f"refused: {self.refused}"] if self.refused else []
        return f"saved at {self.saved_at}{workers}: {'; '.join(what)}"


class ResumeReport(NamedTuple):
    """What `check_resume` found.

    Attributes:
        checked: how many times the data was resumed.
        differences: those that went another way, or were refused.
        reasons: why that may be, a line each.
        passes: how many passes over the data were looked at. What the data remembers may show in a later one only.
        not_restored: what the data remembered otherwise at the end of a resumed run, though each batch was the same.
    """

    checked: int
    differences: tuple[ResumeDifference, ...]
    reasons: tuple[str, ...]
    passes: int = 0
    not_restored: tuple[str, ...] = ()

    @property
    def is_exact(self) -> bool:
        """Whether each resumed run went on exactly."""
        return not self.differences

    @property
    def is_silent(self) -> bool:
        """Whether one went another way and the engine did not notice."""
        return any(not each.refused for each in self.differences)

    def __str__(self) -> str:
        if self.is_exact:
            seen = "1 pass" if self.passes == 1 else f"{self.passes} passes"
            head = f"exact: resumed {as_times(self.checked)} in {seen} over the data, it went on bit for bit each time"
            lost = (
                f"remembered otherwise after resuming, which made no difference there: {join_names(self.not_restored)}"
            )
            return f"{head}\n{lost}" if self.not_restored else head
        first = next((each for each in self.differences if not each.refused), self.differences[0])
        head = f"inexact: {len(self.differences)} of {self.checked} resumes; the first: {first}"
        return "\n".join([head, *(f"  {line}" for line in self.reasons)])


def check_resume(
    make_data: Callable[..., Any],
    *,
    workers: Sequence[int] = (),
    max_epochs: int = 3,
    epoch_length: int | None = None,
    stops: int = 6,
) -> ResumeReport:
    """Draw some passes over data, stop at several places, resume each with new data, and report what differs.

    Where `check_data` raises at the first difference, this looks on: it tells where batches differ, and what of the
    data may be the reason: a random generator of its own, a memory across samples, a state that lacks something.

    Three epochs show what changes in the second or in the third pass: a memory of the first one, a warm-up. What
    changes later, as in a curriculum, takes more. What the data remembers otherwise at the end, though it has made no
    difference yet, is named all the same, if it is found.

    Args:
        make_data: returns the data as a new process would make it; called without arguments, or with a number of
            workers if there are `workers`.
        workers: numbers of workers to save and to resume with; each is resumed with each.
        max_epochs: epochs to run. All resumes together take about half of `stops` times as long.
        epoch_length: iterations in an epoch, default `len(data)`.
        stops: how many places to resume from, spread over the run, for each number of workers: at least as many as
            there are numbers.

    Returns:
        The report; `str()` of it is readable.

    Raises:
        ArgumentError: `stops` is out of range, or the data cannot be run over at all.
        NotCallableError: `make_data` is the data itself, say, or does not take a number of workers.
        ArgumentTypeError: the data gives something that a safe `torch.load` does not take.

    Examples:
        >>> import random
        >>> from torch.utils.data import DataLoader
        >>> str(check_resume(lambda: DataLoader(range(6), batch_size=2, shuffle=True)))
        'exact: resumed 6 times in 3 passes over the data, it went on bit for bit each time'
    """
    require_maker("make_data", make_data, *workers[:1])
    counts: Sequence[int | None] = workers or (None,)
    stops = max(as_integer("stops", stops, least=1), len(counts))
    found: list[_Resumed] = []
    passes = 0
    for first in counts:
        whole = _Whole(_make(make_data, first), max_epochs=max_epochs, epoch_length=epoch_length)
        passes = max(passes, whole.passes)
        for number, saved in enumerate(_spread(whole.trial.saved, stops)):
            second = counts[number % len(counts)]
            pair = None if first is None or second is None else (first, second)
            found.append(_resume_and_compare(whole, saved, partial(_make, make_data, second), pair))
    differences = tuple(each.difference for each in found if each.difference is not None)
    reasons = explain(partial(_make, make_data, counts[0])) if differences else []
    lost = dict.fromkeys(name for each in found for name in each.not_restored)
    return ResumeReport(len(found), differences, tuple(reasons), passes, tuple(lost))


class _Whole:
    """A run without a stop.

    Attributes:
        trial: what has happened.
        passes: how many passes over the data were begun.
        memory: what the data remembers at the end.

    Args:
        data: what is run over.
        limits: as for `run`.
    """

    def __init__(self, data: Any, **limits: Any) -> None:
        self.trial = Trial()
        self.trial.save_everywhere()
        self.trial.run(data, seed=7, **limits)
        position = self.trial.engine.position
        self.passes = position.data_pass + int(position.pass_open)
        self.memory = _memory_of(data)


class _Resumed(NamedTuple):
    """What came of one resume: a difference; or what the data remembers otherwise at the end."""

    difference: ResumeDifference | None
    not_restored: tuple[str, ...] = ()


def _memory_of(data: Any) -> Leaves:
    """Return what data remembers, but for random generators: those are seeded when they are used."""
    return {place: leaf for place, leaf in snapshot({"data": data}).items() if not place.endswith(GENERATOR)}


def _make(make_data: Callable[..., Any], workers: int | None) -> Any:
    return make_data() if workers is None else make_data(workers)


def _spread(saved: Sequence[Saved], count: int) -> list[Saved]:
    """Return some states, spread over those after which there are batches to come; all if there are fewer."""
    before_last = [each for each in saved if each.iteration < saved[-1].iteration] or list(saved)
    count = min(count, len(before_last))
    return [before_last[(2 * number + 1) * len(before_last) // (2 * count)] for number in range(count)]


def _resume_and_compare(
    whole: _Whole, saved: Saved, make_data: Callable[[], Any], workers: tuple[int, int] | None
) -> _Resumed:
    refused = ""
    log: list[Entry] | None
    data = make_data()
    try:
        log = resume(saved, data)
    except ResumeMismatch as refusal:
        refused = str(refusal)
        log = _resume_anyway(saved, make_data())
    except EngineError as refusal:
        return _Resumed(ResumeDifference(saved.place, workers, "", "", "", str(refusal)))
    found = None if log is None else _first_difference(whole.trial, saved, log)
    if found is not None or refused:
        return _Resumed(ResumeDifference(saved.place, workers, *(found or ("", "", "")), refused))
    is_alike = workers is None or workers[0] == workers[1]  # else other processes have fetched
    return _Resumed(None, tuple(differing(whole.memory, _memory_of(data))) if is_alike else ())


def _resume_anyway(saved: Saved, data: Any) -> list[Entry] | None:
    """Return what happens where differences are allowed; None where other data cannot be opened there."""
    try:
        return resume(saved, data, on_mismatch="ignore")
    except EngineError:
        return None


def _first_difference(whole: Trial, saved: Saved, log: Sequence[Entry]) -> tuple[str, str, str] | None:
    for one, other in zip(whole.log[saved.done :], log, strict=False):
        found = one.difference(other)
        if found is not None:
            return found
    left = len(whole.log) - saved.done
    return ("the rest", f"{left} events", f"{len(log)}") if left != len(log) else None
