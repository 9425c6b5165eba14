"""Let one of two processes fail in every way at every place, and look what becomes of the other, and of the run."""

from __future__ import annotations

import itertools
import random
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from outcome import Outcome
from ranks_started import Ended, Launcher, result_of

from warm_python import Program, WarmPython

SAVING_PLACES = ("sync", "rename")  # only the process that saves comes there
PLACES = ("step", "fetch", "handler", "collect", "outcome", *SAVING_PLACES)
CAUGHT_PLACES = ("step", "fetch", "handler", "outcome")  # what fails in a save fails in both, with another exception
RANDOM_KILLS = 60
STOPPED = 143


class Case(NamedTuple):
    """What happens to which process, where.

    Attributes:
        fault: "kill", "raise", "catch" (raise, catch it, and go elsewhere), "sleep" or "signal".
        place: a place that `ranks_job.py` knows.
        rank: which process.
        iteration: when it comes there first in or after this iteration.
        workers: how many workers its loader has.
    """

    fault: str
    place: str
    rank: int
    iteration: int = 8
    workers: int = 0


def all_cases() -> list[Case]:
    """Return every fault at every place that a process comes to."""
    places = [
        (place, rank) for place, rank in itertools.product(PLACES, (0, 1)) if place not in SAVING_PLACES or not rank
    ]
    found = [Case("kill", *at, iteration) for at, iteration in itertools.product(places, (1, 4, 5, 8, 13))]
    found += [Case("raise", *at) for at in places]
    found += [Case("catch", place, rank) for place, rank in itertools.product(CAUGHT_PLACES, (0, 1))]
    found += [Case("sleep", place, rank) for place, rank in itertools.product(("step", "handler", "fetch"), (0, 1))]
    signals = list(itertools.product(("step", "fetch", "handler", "outcome"), (0, 1)))
    found += [Case("signal", *at) for at in signals]
    # With workers a sample is fetched in another process, which does not know the iteration.
    return found + [Case("signal", *at, workers=2) for at in signals if at[0] != "fetch"]


def few_cases() -> list[Case]:
    """Return one of each kind."""
    return [
        Case("kill", "sync", 0),
        Case("raise", "handler", 1),
        Case("signal", "step", 1, workers=2),
    ]


def problems_of(case: Case, python: WarmPython, folder: Path, expected: tuple[str, list[object]]) -> list[str]:
    """Return what went wrong when something happened to one process and the run was started anew.

    Args:
        case: what happens.
        python: runs the processes.
        folder: for the checkpoints.
        expected: parameters and metrics of the undisturbed run.
    """
    launcher = Launcher(python, 2)
    options = ["--fault", case.fault, "--place", case.place, "--rank", case.rank, "--at", case.iteration]
    timeout_s = 2 if case.fault == "sleep" else 60
    args = [folder, "--workers", case.workers, "--timeout", timeout_s]
    other = 1 - case.rank

    def end_sleeper(programs: list[Program]) -> None:
        if case.fault == "sleep":  # it would hang: the others end by themselves, and torchrun would end it
            ended.append(programs[other].wait())
            programs[case.rank].kill()

    ended: Ended = []
    programs = launcher.start(*args, *options)
    end_sleeper(programs)
    ended = [ended[0] if ended and rank == other else program.wait() for rank, program in enumerate(programs)]
    problems = [*_problems_of_end(case, ended)]
    if result_of(launcher.run(folder, "--workers", case.workers)) != expected:
        problems.append("the run that was continued ends otherwise")
    return problems


def _problems_of_end(case: Case, ended: Ended) -> list[str]:
    statuses, other = [each.returncode for each in ended], ended[1 - case.rank]
    if case.fault == "signal":
        return [] if statuses == [STOPPED, STOPPED] else [f"statuses {statuses}: {other.stderr[-500:]}"]
    who = f"rank {case.rank}"
    reasons = {
        "raise": (f"RankLostError: {who} has failed: ZeroDivisionError", f"{who}: made up"),
        "catch": (f"{who} has failed: ZeroDivisionError: made up",),
        "kill": (f"RankLostError: {who} was killed", f"RankLostError: {who} is gone"),
        "sleep": (f"{who} was last heard of",),
    }[case.fault]
    found = [] if other.returncode == 1 else [f"the other has ended with {other.returncode}"]
    if not any(reason in other.stderr for reason in reasons):
        found.append(f"the other does not say why: {other.stderr[-500:]}")
    return found


def random_kills(python: WarmPython, folder: Path, expected: tuple[str, list[object]], count: int) -> list[str]:
    """Kill a process at a random moment, and start the run anew, again and again; return what went wrong."""
    moments, problems = random.Random(0), []
    for number in range(count):
        launcher, rank = Launcher(python, 2), moments.randrange(2)

        def kill(programs: list[Program], rank: int = rank) -> None:
            time.sleep(moments.uniform(0.2, 2.0))
            programs[rank].kill()

        launcher.run(folder / str(number), meanwhile=kill)
        if result_of(launcher.run(folder / str(number))) != expected:
            problems.append(f"kill {number} of rank {rank}")
    return problems


def run(*, full: bool) -> Outcome:
    """Try all cases, or a few; return what was counted."""
    python, problems = WarmPython(), []
    with tempfile.TemporaryDirectory() as folder:
        expected = result_of(Launcher(python, 2).run(Path(folder, "undisturbed")))
        cases = all_cases() if full else few_cases()
        for number, case in enumerate(cases):
            problems += [f"{case}: {each}" for each in problems_of(case, python, Path(folder, str(number)), expected)]
        count = RANDOM_KILLS if full else 1
        problems += random_kills(python, Path(folder, "killed"), expected, count)
    python.close()
    for problem in problems:
        print(problem)
    return Outcome("G18: one of two ranks", len(cases) + count, len(problems), f"{count} kills at random moments")
