"""A training that is not stopped, and the ones resumed from its checkpoints: do they go on in the same way?"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from exact_job import Entry, Job, Saved, Setting

from camshaft.deterministic import ResumeMismatch


class Case(NamedTuple):
    """A training, and how it is resumed.

    Attributes:
        setting: the training.
        resumed_as: the settings to resume it with, in turns.
        resumes: how many checkpoints to resume from at most, None for all.
        again: resume every so manieth resumed run again, from one of its own checkpoints.
        iterations: how far a resumed run goes, None for the end.
        seed: decides which checkpoints.
        refused: what resuming has to be refused for, by its name in `ResumeMismatch.fields`; "" if it has to be exact.
    """

    setting: Setting
    resumed_as: tuple[Setting, ...]
    resumes: int | None = None
    again: int = 5
    iterations: int | None = None
    seed: int = 0
    refused: str = ""


class Outcome(NamedTuple):
    """One resume.

    Attributes:
        whole, resumed: the settings of the run that was saved and of the one that went on.
        event: where the checkpoint was taken.
        place: "start", "inside", "epoch's end" or "end" of the run, or "again" for a run resumed twice.
        difference: what went another way, None for nothing.
        refused: what it was refused for, as it had to be; "" if it went on.
    """

    whole: Setting
    resumed: Setting
    event: str
    place: str
    difference: str | None
    refused: str = ""


def play(case: Case, left_out: str | None = None) -> list[Outcome]:
    """Run the training of a case, resume it from its checkpoints, and tell of each whether it went on exactly."""
    disturb(case.seed)
    whole = Job(case.setting, left_out)
    disturb(case.seed + 1)
    whole.run()
    return list(_refusals(case, whole) if case.refused else _resumes(case, whole, left_out))


def _refusals(case: Case, whole: Job) -> Iterator[Outcome]:
    """Resume what cannot go on exactly: it has to say so, by name, before anything has happened."""
    for number, saved in enumerate(_chosen(whole.saved, case)):
        setting = case.resumed_as[number % len(case.resumed_as)]
        difference: str | None = f"it went on, and is to be refused for {case.refused}"
        try:
            _resume(setting, saved, 1, None)
        except ResumeMismatch as mismatch:
            difference = None if case.refused in mismatch.fields else f"refused for {', '.join(mismatch.fields)}"
        yield Outcome(case.setting, setting, saved.event, _place(saved, whole), difference, case.refused)


def _resumes(case: Case, whole: Job, left_out: str | None) -> Iterator[Outcome]:
    for number, saved in enumerate(_chosen(whole.saved, case)):
        setting = case.resumed_as[number % len(case.resumed_as)]
        goes_on_again = bool(case.again) and number % case.again == case.again - 1
        iterations = None if goes_on_again else case.iterations
        try:
            resumed = _resume(setting, saved, iterations, left_out)
        except ResumeMismatch as mismatch:
            yield Outcome(case.setting, setting, saved.event, _place(saved, whole), f"it was refused: {mismatch}")
            continue
        expected = whole.log[saved.done :]
        yield Outcome(case.setting, setting, saved.event, _place(saved, whole), _difference(expected, resumed.log))
        if goes_on_again and resumed.saved:
            further = random.Random(case.seed + number).choice(resumed.saved)
            third = _resume(setting, further, case.iterations, left_out)
            difference = _difference(expected[further.done :], third.log)
            yield Outcome(setting, setting, further.event, "again", difference)


def _chosen(saved: list[Saved], case: Case) -> list[Saved]:
    if case.resumes is None or len(saved) <= case.resumes:
        return saved
    return sorted(random.Random(case.seed).sample(saved, case.resumes))


def _resume(setting: Setting, saved: Saved, iterations: int | None, left_out: str | None) -> Job:
    job = Job(setting, left_out)
    disturb(saved.done)
    job.load(saved.content)
    job.run(resumed=True, iterations=iterations)
    return job


def _place(saved: Saved, whole: Job) -> str:
    rest = [entry[0] for entry in whole.log[saved.done :]]
    if "GET_BATCH_STARTED" not in rest:
        return "end"
    if "ITERATION_COMPLETED" not in [entry[0] for entry in whole.log[: saved.done]]:
        return "start"
    return "epoch's end" if rest[0] in ("EPOCH_COMPLETED", "EPOCH_STARTED") else "inside"


def _difference(expected: list[Entry], happened: list[Entry]) -> str | None:
    """Return the first difference; what was stopped on purpose is compared up to there."""
    stop = next((number for number, entry in enumerate(happened) if entry[0] == "TERMINATE"), len(happened))
    if stop < len(expected) and expected[stop][0] != "TERMINATE":
        happened, expected = happened[:stop], expected[:stop]
    for number, (one, other) in enumerate(zip(expected, happened, strict=False)):
        if one != other:
            return f"entry {number} was {one} and is {other}"
    if len(expected) != len(happened):
        return f"{len(expected)} entries were to come and {len(happened)} came"
    return None


def disturb(seed: int) -> None:
    """Leave the generators somewhere."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
