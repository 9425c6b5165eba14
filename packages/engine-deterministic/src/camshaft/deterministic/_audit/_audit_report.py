"""What an audit compares, and what it says about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from camshaft.deterministic._audit._audited_section import Record
from camshaft.deterministic._audit._leaf import Leaf, Leaves
from camshaft.deterministic._audit._part import Part, merge
from camshaft.deterministic._audit._unsaved import Unsaved, suspects

_MISSING = Leaf("", "not there")
_ENGINE = (
    "the engine is an `Engine`, which restores no random numbers and does not continue a DataLoader inside a pass; use "
    "`DeterministicEngine`, or `create_supervised_trainer(deterministic=True)`"
)


class Finding(NamedTuple):
    """The first difference after a stop, or something that ended otherwise.

    Attributes:
        run: how the run was stopped, and from where it was resumed.
        iteration: number of the iteration; None for the end of the training.
        what: "batch", "output", "epoch 3" for a metric of it, "saved object", "object", "engine", "metric",
            "iterations", or "error" where a run that was resumed has raised one.
        where: which part of it.
        before, after: that part without a stop, and now, as text.
        reason: what else is known about why; "" for nothing.
    """

    run: str
    iteration: int | None
    what: str
    where: str
    before: str
    after: str
    reason: str = ""

    def __str__(self) -> str:
        return "\n".join([f"{self.run}: {self._difference()}", *(f"  {line}" for line in self.reason.splitlines())])

    def _difference(self) -> str:
        if self.what == "error":
            return f"it has raised {self.after}"
        if self.what == "iterations":
            return f"it has ended after {self.before}, and {self.after} after the stop"
        end = f"at the end of {self.what}" if self.what.startswith("epoch ") else "at the end"
        place = end if self.iteration is None else f"in iteration {self.iteration}"
        what = f"`{self.where}`" if self.iteration is None else " ".join(filter(None, (self.what, self.where)))
        return f"{place} {what} was {self.before} and is {self.after}"


class AuditReport(NamedTuple):
    """What `audit_resume` found.

    Attributes:
        iterations: how many iterations the training has, or was ended after.
        stops, kills: how many times it was to be stopped by an exception, and killed.
        findings: the differences; those after the first in a run would only follow from it.
        is_repeatable: whether it goes the same way twice without a stop.
        unsaved: what was different right after resuming and is not in `to_save`: the likely causes.
        not_restored: what is in `to_save`, and was different right after loading all the same.
    """

    iterations: int
    stops: int
    kills: int
    findings: tuple[Finding, ...]
    is_repeatable: bool
    unsaved: tuple[Unsaved, ...] = ()
    not_restored: tuple[str, ...] = ()

    @property
    def is_exact(self) -> bool:
        """Whether nothing differed."""
        return not self.findings

    @property
    def not_saved(self) -> tuple[str, ...]:
        """The names of what was different right after resuming and is not in `to_save`."""
        return tuple(name for each in self.unsaved for name in each.names)

    def __str__(self) -> str:
        done = f"{self.iterations} iterations, stopped {as_times(self.stops)} and killed {as_times(self.kills)}"
        if not self.is_repeatable:
            reason = (
                "The training does not repeat itself, even without a stop. Does it draw from a generator that nobody "
                "seeds, look at the time, or use something that outlives a run, such as a global?"
            )
            return f"not repeatable: {self.findings[0]}\n{reason}"
        head = f"exact: {done}, it went on bit for bit each time" if self.is_exact else f"inexact: {done}"
        harmless = ", and made no difference here" if self.is_exact else ""
        lines = [head, *map(str, self.findings)]
        for text, listed in (
            ("not in `to_save`, different right after resuming", self.unsaved),
            ("in `to_save`, different right after loading", self.not_restored),
        ):
            lines += [f"{text}{harmless}:", *(f"  {each}" for each in listed)] if listed else []
        return "\n".join(lines)


def as_times(number: int) -> str:
    """Return how often, in words."""
    return "once" if number == 1 else f"{number} times"


def compare_section(run: str, whole: Record, section: Record) -> Finding | None:
    """Return the first iteration in which batch or output differ from those of the run without a stop, or an error."""
    for number, (batch, output) in section.steps.items():
        expected = whole.steps.get(number)
        if expected is None:
            return Finding(run, number, "iterations", "", f"{max(whole.steps)} iterations", "goes on")
        is_over = output or number != max(section.steps)  # else it was stopped right there
        for what, before, after in (("batch", expected[0], batch), ("output", expected[1], output)):
            found = _first_difference(before, after, frozenset()) if what == "batch" or is_over else None
            if found is not None:
                return _with_reason(Finding(run, number, what, *found), section)
    for epoch, metrics in section.metrics.items():
        found = _first_difference(*_metrics_of_both(whole.metrics.get(epoch, {}), metrics), frozenset())
        if found is not None:
            return _with_reason(Finding(run, None, f"epoch {epoch}", *found), section)
    if section.error is not None:
        return _with_reason(Finding(run, None, "error", "", "none", section.error), section)
    if section.end is not None and set(section.steps) and max(section.steps) != max(whole.steps):
        counts = f"{max(whole.steps)} iterations", str(max(section.steps))
        return _with_reason(Finding(run, None, "iterations", "", *counts), section)
    return None


def compare_ends(run: str, whole: Record, section: Record, noise: frozenset[str]) -> list[Finding]:
    """Return what has ended otherwise than without a stop: of each object the first part."""
    if section.end is None or whole.end is None:
        return []
    compared = (
        ("saved object", merge(whole.end.saved), merge(section.end.saved)),
        ("engine", whole.engine_end, section.engine_end),
        ("metric", *_metrics_of_both(whole.metrics_end, section.metrics_end)),
        ("object", *_objects_that_differ(whole.end.others, section.end.others, noise)),
    )
    for what, before, after in compared:
        found = _first_difference(before, after, noise)
        if found is not None:
            return [_with_reason(Finding(run, None, what, *found), section)]
    return []


def _objects_that_differ(before: Iterable[Part], after: Iterable[Part], noise: frozenset[str]) -> tuple[Leaves, Leaves]:
    """Return what is otherwise of objects that are not saved, before and after; what data has in it does not count."""
    found = [(thing, places) for thing, places in suspects(before, after, noise) if not thing.is_of_data]
    names = [place for _, places in found for place in places]
    one, other = merge(before), merge(after)
    return {name: one[name] for name in names if name in one}, {name: other[name] for name in names if name in other}


def _metrics_of_both(before: Leaves, after: Leaves) -> tuple[Leaves, Leaves]:
    """Return metrics without those that come later: they are not saved, and are there again at the end of an epoch."""
    names = {place for place in after if place in before}
    return {place: before[place] for place in before if place in names}, {place: after[place] for place in names}


def list_noise(whole: Record, again: Record) -> frozenset[str]:
    """Return the places that differ at the end of two runs without a stop: times, folders, numbers of processes."""
    if whole.end is None or again.end is None:
        return frozenset()
    before = {**whole.metrics_end, **merge(whole.end.others), **merge(whole.end.saved), **whole.engine_end}
    after = {**again.metrics_end, **merge(again.end.others), **merge(again.end.saved), **again.engine_end}
    return frozenset(place for place in {**before, **after} if before.get(place) != after.get(place))


def _first_difference(before: Leaves, after: Leaves, noise: frozenset[str]) -> tuple[str, str, str] | None:
    for place in {**before, **after}:
        one, other = before.get(place, _MISSING), after.get(place, _MISSING)
        if one.digest != other.digest and place not in noise:
            return place, one.text, other.text
    return None


def _with_reason(finding: Finding, section: Record) -> Finding:
    """Add what the engine has to say about it."""
    engine = [] if section.is_deterministic else [_ENGINE]
    warned = [f"the engine has warned: {each}" for each in dict.fromkeys(section.warned)]
    return finding._replace(reason="\n".join((*engine, *warned)))


__all__ = ["AuditReport", "Finding", "as_times", "compare_ends", "compare_section", "list_noise"]
