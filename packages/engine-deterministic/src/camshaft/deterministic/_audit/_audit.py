"""Audit a whole training: does it go on exactly after a stop, and if not, what is it that nobody saved?"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from camshaft.deterministic._audit._audit_report import AuditReport, Finding, compare_ends, compare_section, list_noise
from camshaft.deterministic._audit._audited_run import AuditError, MakeRun
from camshaft.deterministic._audit._audited_section import Checkpoint, Record, Section
from camshaft.deterministic._audit._killed_process import play_apart, require_importable
from camshaft.deterministic._audit._play import play
from camshaft.deterministic._audit._stop import Stop, list_stops
from camshaft.deterministic._audit._unsaved import Resume, list_files_written, list_not_restored, list_unsaved
from camshaft.deterministic._checks._reason import explain
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.engine import ArgumentError, as_integer

_DRAWN = (
    "the first batch depends on where the generators stand when `make_run` is called, which is elsewhere in another "
    "process: call `manual_seed` there, before data is drawn or split"
)
# What a finding is about, where the data may be the reason.
_OF_DATA = ("batch", "error")


class Progress(NamedTuple):
    """How far an audit is.

    Attributes:
        what: which part is played.
        iterations: how many iterations were done in all parts.
        total: how many there will be; None until the length of the training is known.
    """

    what: str
    iterations: int
    total: int | None


def audit_resume(
    make_run: MakeRun,
    *,
    iterations: int | None = 100,
    stops: int = 3,
    kills: int = 1,
    seed: int = 0,
    tell: Callable[[Progress], object] | None = None,
) -> AuditReport:
    """Stop and resume a training at several places, and report what goes another way than without a stop.

    The training is made and run twice without a stop. What differs between these two, a time say, is left out of
    account; where batches or losses differ, nothing else is tried. Then it is stopped by an exception, made anew,
    resumed from what it has in `to_save`, stopped again, and so on to the end. Then the same with processes that are
    killed by SIGKILL. All batches and outputs are compared; at the end all that is in `to_save`, the engine's metrics,
    and what the step, the handlers and the data refer to: variables, attributes, and whatever has a `state_dict`.
    Compared just after a resume, the same tells what is not in `to_save`.

    Each stop comes an iteration after a checkpoint was taken, so that something has happened that has to happen again.
    Of two stops or more, one is after a checkpoint at EPOCH_COMPLETED; the others are inside epochs, as a rule.
    Checkpoints are those of the audit, in memory; what the training itself writes is left to it. The generators of the
    process stand elsewhere after each resume, as they would in another process.

    Args:
        make_run: called as `make_run(folder)`; makes everything anew and returns an `AuditedRun`. What the training
            writes, it writes to the folder, a `pathlib.Path`. The folder is empty at first. A resumed run gets that of
            the run that was stopped.
        iterations: how many to look at; a longer training is ended there by `terminate()`. None: to its end.
        stops: how many times it is stopped by an exception, in this process.
        kills: how many times it is killed, each time in a process of its own. These are spawned, so `make_run` has to
            be a function that a module defines. 0 for other functions; not both may be 0.
        seed: seeds the generators before `make_run` is called.
        tell: called with a `Progress` after each iteration in this process, and after each process.

    Returns:
        The report; `str()` of it is readable.

    Raises:
        ArgumentError: a number is out of range, there is to be no stop at all, or `make_run` cannot be sent to another
            process.
        ArgumentTypeError: `make_run` does not return an `AuditedRun`.
        AuditError: the training has less than two iterations, can nowhere be stopped, calls `sys.exit`, or fails in a
            process of its own.

    Examples:
        >>> from camshaft.deterministic import DeterministicEngine
        >>> from camshaft.deterministic.testing import AuditedRun
        >>> def make_run(folder):
        ...     total = {"seen": 0}
        ...     def step(engine, batch):
        ...         total["seen"] += batch
        ...         return total["seen"]
        ...     engine = DeterministicEngine(step)
        ...     return AuditedRun(engine, lambda: engine.run([1, 2, 3], max_epochs=2), to_save={"engine": engine})
        >>> report = audit_resume(make_run, stops=1, kills=0)
        >>> report.is_exact, report.not_saved
        (False, ("make_run.step().total['seen']",))
    """
    limit = None if iterations is None else as_integer("iterations", iterations, least=2)
    stops, kills = as_integer("stops", stops, least=0), as_integer("kills", kills, least=0)
    if not stops and not kills:
        raise ArgumentError("`stops` and `kills` must not both be 0, got 0 and 0; nothing would be tried")
    if kills:
        require_importable(make_run)
    with tempfile.TemporaryDirectory(prefix="audit-", ignore_cleanup_errors=True) as name:
        return _Audit(make_run, Path(name), seed, limit, tell).carry_out(stops, kills)


class _Way(NamedTuple):
    """A way to play a training, and to stop it.

    Attributes:
        name: what is said of it.
        folder: name of the folder that the training gets.
        play: plays a section.
    """

    name: str
    folder: str
    play: Callable[..., Record] = play

    def resumed(self, checkpoint: Checkpoint) -> _Way:
        return self._replace(name=f"{self.name}, resumed {checkpoint.place}")


class _Audit:
    """One audit: plays the sections in turn."""

    def __init__(
        self, make_run: MakeRun, folder: Path, seed: int, limit: int | None, tell: Callable[[Progress], object] | None
    ) -> None:
        self._make_run, self._folder, self._seed, self._limit = make_run, folder, seed, limit
        self._report = tell
        self._done, self._total = 0, None if limit is None else 0
        self._length = 0
        self._noise: frozenset[str] = frozenset()
        self._resumes: list[Resume] = []

    def carry_out(self, stops: int, kills: int) -> AuditReport:
        whole = self._play(_Way("undisturbed", "whole"), self._beginning())
        length = max(whole.steps, default=0)
        if length < 2:
            raise AuditError(f"the training must have at least 2 iterations to be stopped in, got {length}")
        self._length, self._total = length, length * (2 + bool(stops) + bool(kills))
        again = self._play(_Way("undisturbed, again", "again"), self._beginning())
        found = compare_section("run again, without a stop", whole, again)
        if found is not None:
            return AuditReport(length, 0, 0, (found,), is_repeatable=False)
        self._noise = list_noise(whole, again)
        killed = _Way("killed", "kill", partial(play_apart, self._folder / "kill.record"))
        stopped, of_stops = self._stop_and_resume(whole, _Way("stopped by an exception", "exception"), stops)
        died, of_kills = self._stop_and_resume(whole, killed, kills)
        if not stopped and not died:
            raise AuditError("the training could not be stopped: there is no safe point after which it goes on")
        return self._report_of((length, stopped, died), (*of_stops, *of_kills))

    def _report_of(self, counts: tuple[int, int, int], findings: tuple[Finding, ...]) -> AuditReport:
        unsaved = list_unsaved(self._resumes, self._noise, is_exact=not findings)
        is_due_to_data = any(each.what in _OF_DATA for each in findings)
        if findings and not unsaved and not is_due_to_data:
            unsaved = list_files_written(self._resumes)
        not_restored = list_not_restored(self._resumes, self._noise)
        return AuditReport(
            *counts, findings, is_repeatable=True, unsaved=tuple(unsaved), not_restored=tuple(not_restored)
        )

    def _stop_and_resume(self, whole: Record, way: _Way, count: int) -> tuple[int, list[Finding]]:
        """Play the training with some stops in it; return how often it was resumed, and what was found."""
        stops = list_stops(max(whole.steps), whole.epoch_length, count)
        before: Record | None = None
        for number, stop in enumerate([*stops, None] if stops else []):
            resumed = way if before is None or before.checkpoint is None else way.resumed(before.checkpoint)
            record = self._go_on(resumed, number, stop, before)
            self._note_resume(before, record)
            found = compare_section(resumed.name, whole, record)
            if found is not None:
                return number, [self._explained(found, whole, record)]
            if record.end is not None:
                return number, compare_ends(resumed.name, whole, record, self._noise)
            before = record
        return 0, []

    def _go_on(self, way: _Way, number: int, stop: Stop | None, before: Record | None) -> Record:
        """Play the training up to the next stop, from its beginning or from the checkpoint before."""
        section = self._beginning()._replace(length=self._length)
        if stop is not None:
            section = section._replace(save_at=stop.iteration, save_on=stop.event)
        if before is not None and before.checkpoint is not None:
            seed = derive_seed(self._seed, "resumed", number) % 2**62
            section = section._replace(seed=seed, start_seed=seed + 1, checkpoint=before.checkpoint.content)
        return self._play(way, section)

    def _note_resume(self, before: Record | None, record: Record) -> None:
        """Keep what everything was like before a stop and after it."""
        done = record.resumed_at
        if before is not None and done in before.seen and done in record.seen:
            pairs = [(each.seen[done], each.seen.get(done + 1)) for each in (before, record)]
            (one, one_later), (other, other_later) = pairs
            later = None if one_later is None or other_later is None else (one_later.others, other_later.others)
            files = tuple(name for name, _ in sorted(before.files.items() ^ record.files_at_start.items()))
            self._resumes.append(Resume(one.others, other.others, later, before.saved, record.loaded, files))

    def _explained(self, finding: Finding, whole: Record, record: Record) -> Finding:
        """Add what is found out about the data where a batch has come out differently."""
        if finding.what not in _OF_DATA or not record.is_deterministic:
            return finding
        made: list[Record] = []

        def make_data() -> Any:
            record, data = self._play_for_data()
            made.append(record)
            return data

        lines = explain(make_data)
        is_drawn = made[0].steps.get(1, ({}, {}))[0] != whole.steps[1][0]
        reasons = [finding.reason, _DRAWN if is_drawn else "", *lines]
        return finding._replace(reason="\n".join(filter(None, reasons)))

    def _play_for_data(self) -> tuple[Record, Any]:
        """Play one iteration, and return what has happened and the data."""
        watched: list[Any] = []
        seed = derive_seed(self._seed, "made elsewhere") % 2**62  # the run is started with that of the whole one
        section = self._beginning()._replace(seed=seed, iterations=1)
        record = self._play(_Way("looking at the data", "data"), section, keep_data=watched.append)
        return record, watched[0]

    def _beginning(self) -> Section:
        return Section(self._seed, self._seed + 1, iterations=self._limit)

    def _play(self, way: _Way, section: Section, **options: Any) -> Record:
        folder = self._folder / way.folder
        folder.mkdir(exist_ok=True)
        return way.play(self._make_run, folder, section, partial(self._tell, way.name), **options)

    def _tell(self, what: str, iterations: int = 1) -> None:
        self._done += iterations
        if self._report is not None:
            self._report(Progress(what, self._done, self._total or None))
