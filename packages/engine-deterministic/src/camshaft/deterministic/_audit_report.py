"""What an audit compares, and what it says about it."""

from __future__ import annotations

from typing import NamedTuple

from camshaft.deterministic._audited_run import Record, Seen
from camshaft.deterministic._snapshot import Leaf, Leaves, differing

_MISSING = Leaf("", "not there")
_MOST_NAMED = 8


class Finding(NamedTuple):
    """The first difference after a stop, or something that ended otherwise.

    Attributes:
        run: how the run was stopped, and from where it was resumed.
        iteration: number of the iteration; None for the end of the training.
        what: "batch", "output", "saved object", "object", "engine", "iterations", or "error" where a run that was
            resumed has raised one.
        where: which part of it.
        before, after: that part without a stop, and now, as text.
        not_saved: what was another right after resuming and is not in `to_save`: the likely cause.
        not_restored: what is in `to_save`, and was another right after resuming all the same.
        reason: what else is known about why; "" for nothing.
    """

    run: str
    iteration: int | None
    what: str
    where: str
    before: str
    after: str
    not_saved: tuple[str, ...] = ()
    not_restored: tuple[str, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        place = "at the end" if self.iteration is None else f"in iteration {self.iteration}"
        what = f"{self.what} {self.where}".strip()
        lines = [f"{self.run}: {place} {what} was {self.before} and is {self.after}"]
        for text, names in (
            ("not in to_save, and another right after resuming", self.not_saved),
            ("in to_save, and another right after resuming all the same", self.not_restored),
        ):
            if names:
                more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
                lines.append(f"  {text}: {', '.join(names[:_MOST_NAMED])}{more}")
        return "\n".join([*lines, *(f"  {line}" for line in self.reason.splitlines())])


class AuditReport(NamedTuple):
    """What `audit_resume` found.

    Attributes:
        iterations: how many iterations the training has, or was ended after.
        stops, kills: how many times it was to be stopped by an exception, and killed.
        findings: the differences; those after the first in a run would only follow from it.
        is_repeatable: whether it goes the same way twice without a stop.
    """

    iterations: int
    stops: int
    kills: int
    findings: tuple[Finding, ...]
    is_repeatable: bool

    @property
    def is_exact(self) -> bool:
        """Whether nothing differed."""
        return not self.findings

    @property
    def not_saved(self) -> tuple[str, ...]:
        """What was another right after resuming and is not in `to_save`: likely causes, each once."""
        return tuple(dict.fromkeys(name for each in self.findings for name in each.not_saved))

    def __str__(self) -> str:
        done = f"{self.iterations} iterations, stopped {self.stops} times and killed {self.kills} times"
        if self.is_exact:
            return f"exact: {done}, it went on bit for bit each time"
        if not self.is_repeatable:
            reason = (
                "The training does not repeat itself, even without a stop. Does it draw from a generator that nobody "
                "seeds, look at the time, or use something that outlives a run, such as a global?"
            )
            return f"not repeatable: {self.findings[0]}\n{reason}"
        return "\n".join([f"inexact: {done}", *map(str, self.findings)])


def compare_section(run: str, whole: Record, section: Record, noise: frozenset[str] = frozenset()) -> Finding | None:
    """Return the first iteration in which batch or output differ from those of the run without a stop, or an error."""
    for number, (batch, output) in section.steps.items():
        expected = whole.steps.get(number)
        if expected is None:
            return _explained(Finding(run, number, "iterations", "", "none", "one"), whole, section, noise)
        is_over = output or number != max(section.steps)  # else it was stopped right there
        for what, before, after in (("batch", expected[0], batch), ("output", expected[1], output)):
            found = _first_difference(before, after, frozenset()) if what == "batch" or is_over else None
            if found is not None:
                return _explained(Finding(run, number, what, *found), whole, section, noise)
    if section.error is not None:
        return _explained(Finding(run, None, "error", "", "none", section.error), whole, section, noise)
    if section.end is not None and set(section.steps) and max(section.steps) != max(whole.steps):
        counts = str(max(whole.steps)), str(max(section.steps))
        return _explained(Finding(run, None, "iterations", "in all", *counts), whole, section, noise)
    return None


def compare_ends(run: str, whole: Record, section: Record, noise: frozenset[str]) -> list[Finding]:
    """Return what has ended otherwise than without a stop: of each object the first part."""
    if section.end is None or whole.end is None:
        return []
    compared = (
        ("saved object", whole.end.saved, section.end.saved),
        ("engine", whole.engine_end, section.engine_end),
        ("object", whole.end.others, section.end.others),
    )
    for what, before, after in compared:
        found = _first_difference(before, after, noise)
        if found is not None:
            return [_explained(Finding(run, None, what, *found), whole, section, noise)]
    return []


def list_noise(whole: Record, again: Record) -> frozenset[str]:
    """Return the places that differ at the end of two runs without a stop: times, folders, numbers of processes."""
    if whole.end is None or again.end is None:
        return frozenset()
    before = {**whole.end.others, **whole.end.saved, **whole.engine_end}
    after = {**again.end.others, **again.end.saved, **again.engine_end}
    return frozenset(place for place in {**before, **after} if before.get(place) != after.get(place))


def _first_difference(before: Leaves, after: Leaves, noise: frozenset[str]) -> tuple[str, str, str] | None:
    for place in {**before, **after}:
        one, other = before.get(place, _MISSING), after.get(place, _MISSING)
        if one.digest != other.digest and place not in noise:
            return place, one.text, other.text
    return None


def _explained(finding: Finding, whole: Record, section: Record, noise: frozenset[str]) -> Finding:
    """Add what was another right after resuming."""
    before, after = whole.seen.get(section.resumed_at), section.seen.get(section.resumed_at)
    if before is None or after is None:
        return finding
    return finding._replace(
        not_saved=tuple(name for name in differing(before.others, after.others) if name not in noise),
        not_restored=tuple(name for name in differing(before.saved, after.saved) if name not in noise),
    )


__all__ = ["AuditReport", "Finding", "Seen", "compare_ends", "compare_section", "list_noise"]
