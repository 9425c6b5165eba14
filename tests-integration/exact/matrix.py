"""Resume trainings of every kind from everywhere, and count how many do not go on bit for bit.

    python tests-integration/exact/matrix.py                          the full count, some minutes
    python tests-integration/exact/matrix.py --cases 40 --each 5      a slice, chosen by --seed
    python tests-integration/exact/matrix.py --leave-out schedule     a check of the checker: it must find mismatches
    python tests-integration/exact/matrix.py --device cuda --precision float16    on a GPU, with a scaler
    python tests-integration/exact/matrix.py --device cuda --prefetch    the same, with the next batch fetched early

A case is a training that is not stopped. It writes down every event with a hash of its batch, its output and all
generators, and takes checkpoints all over. A resume makes everything anew, loads one of them, goes on, and must write
the same. Some resumes are resumed again. The last cases are processes of their own, killed by SIGKILL.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from functools import partial
from multiprocessing import get_context, get_start_method, set_start_method

from exact_cases import Case, Outcome, play
from exact_data import KINDS
from exact_job import EVERYWHERE, Setting
from exact_kill import kill_and_resume
from exact_pipelines import MISSING
from exact_samples import Workers
from exact_unusual import UNUSUAL

COUNTS = (0, 1, 2, 4)
LENGTHS = (None, 3, 4, 9, 12)  # a pass of most kinds has 6 batches
LONG = ("single samples", "saving data")  # a pass has 23: parts of it tell as much
PRECISIONS = ("full", "full", "bfloat16", "float16")
SAVES = (EVERYWHERE, ("ITERATION_COMPLETED",), ("EPOCH_COMPLETED", "GET_BATCH_STARTED"), ("ITERATION_STARTED",))
CHECKPOINTS = 16


def settings_of(kind: str, choice: random.Random, device: str) -> Setting:
    """Return a training over a kind of data, everything else chosen."""
    length, accumulation, precision = choice.choice(LENGTHS), choice.choice((1, 3)), choice.choice(PRECISIONS)
    if length is None and (kind in LONG or not KINDS[kind].has_end):
        length = 5
    is_plain = accumulation == 1 and precision == "full"
    return Setting(
        kind,
        epoch_length=length,
        max_epochs=choice.choice((2, 3)),
        accumulation=accumulation,
        precision=precision,
        optimizer=choice.choice(("SGD", "AdamW")),
        seeding=choice.choice((None, "sample", "batch")) if is_plain else None,
        saves_at=choice.choice(SAVES),
        order=choice.choice(("first", "last")),
        ends_early=choice.choice(((), (), (2, 7))),
        patience=choice.choice((2, 50)),
        device=device,
    )


def cases_of_kinds(choice: random.Random, device: str) -> Iterator[Case]:
    """Yield every kind of data in four trainings, in this process."""
    for kind, _ in itertools.product(KINDS, range(4)):
        setting = settings_of(kind, choice, device)
        yield Case(setting, (setting,), CHECKPOINTS, seed=choice.randrange(10**6))


def cases_of_workers(choice: random.Random, device: str) -> Iterator[Case]:
    """Yield every number of workers, resumed with every other, persistent or not, and every prefetch factor."""
    any_number = itertools.cycle([name for name, kind in KINDS.items() if kind.workers == "any"])
    prefetch = itertools.cycle((1, 2, 5))
    for count, persistent, start in itertools.product(COUNTS, (False, True), (None, None, None)):
        setting = settings_of(next(any_number), choice, device)
        setting = setting._replace(workers=Workers(count, persistent, next(prefetch), start), max_epochs=2)
        others = tuple(
            setting._replace(workers=Workers(other, choice.random() < 0.5, next(prefetch))) for other in COUNTS
        )
        yield Case(setting, others, 8, again=4, iterations=4, seed=choice.randrange(10**6))
    for kind, each in KINDS.items():
        if each.workers == "same":
            # Where there are several passes, workers that persist remember the one before: that is refused.
            workers = Workers(2, not each.has_end, next(prefetch))
            setting = settings_of(kind, choice, device)._replace(workers=workers, max_epochs=2)
            yield Case(setting, (setting,), 6, again=3, iterations=4, seed=choice.randrange(10**6))
    spawned = Setting("shuffled", Workers(1, True, 2, "spawn"), saves_at=("ITERATION_COMPLETED",), device=device)
    yield Case(spawned, (spawned, spawned._replace(workers=Workers(2))), 4, again=0, seed=choice.randrange(10**6))


def cases_of_kinds_with_workers(choice: random.Random, device: str) -> Iterator[Case]:
    """Yield what is easily resumed wrongly, with workers that persist, resumed with any other number."""
    for kind, each in UNUSUAL.items():
        if each.workers == "any":
            setting = settings_of(kind, choice, device)._replace(workers=Workers(2, True, 1), max_epochs=2)
            others = tuple(setting._replace(workers=workers) for workers in (Workers(), Workers(2, True), Workers(1)))
            yield Case(setting, others, 6, again=3, iterations=4, seed=choice.randrange(10**6))


def cases_to_be_refused(choice: random.Random, device: str) -> Iterator[Case]:
    """Yield what cannot go on exactly: other numbers of workers and of ranks, where they decide the batches."""
    for kind, each in KINDS.items():
        if each.workers == "same":
            setting = settings_of(kind, choice, device)._replace(workers=Workers(1), max_epochs=2)
            others = tuple(setting._replace(workers=workers) for workers in (Workers(), Workers(2)))
            yield Case(setting, others, 4, seed=choice.randrange(10**6), refused="num_workers")
    on_ranks = [Setting(f"22 samples on {count} ranks", device=device) for count in (2, 4)]
    for one, other in itertools.permutations(on_ranks):
        yield Case(one, (other,), 8, seed=choice.randrange(10**6), refused="samples_of_all_ranks")


def cases_of_kills(choice: random.Random, device: str) -> Iterator[tuple[Setting, tuple[Workers, ...], int]]:
    """Yield trainings in processes of their own, and with which workers they go on after each kill."""
    for kind in ("shuffled", "weighted", "endless sampler", "whole batches", "saving data", "iterable"):
        setting = settings_of(kind, choice, device)._replace(
            epoch_length=choice.choice((5, 8)), max_epochs=3, patience=50
        )
        setting = setting._replace(saves_at=("ITERATION_COMPLETED", "EPOCH_COMPLETED"))
        free = KINDS[kind].workers == "any"
        workers = tuple(Workers(choice.choice((0, 2)) if free else 0, choice.random() < 0.5) for _ in range(3))
        yield setting, workers, choice.randrange(10**6)


def cases_of(seed: int, device: str) -> list[Case]:
    """Return all cases but the killed ones."""
    choice = random.Random(seed)
    makers = cases_of_kinds, cases_of_workers, cases_of_kinds_with_workers, cases_to_be_refused
    return [case for maker in makers for case in maker(choice, device)]


def with_precision(setting: Setting, precision: str | None) -> Setting:
    """Return a training in another precision; None leaves it as it is."""
    if precision is None:
        return setting
    return setting._replace(precision=precision, seeding=setting.seeding if precision == "full" else None)


def with_prefetch(case: Case) -> Case:
    """Return a case whose training prefetches, and is resumed with and without."""
    resumed_as = [
        each._replace(prefetch=prefetch, seeding=None) for each in case.resumed_as for prefetch in (False, True)
    ]
    return case._replace(
        setting=case.setting._replace(prefetch=True, seeding=None), resumed_as=tuple(resumed_as), again=3
    )


def with_graph(case: Case) -> Case:
    """Return a case whose steps are launched as CUDA graphs, also when it is resumed."""
    setting, *resumed_as = (each._replace(graph=True, seeding=None) for each in (case.setting, *case.resumed_as))
    return case._replace(setting=setting, resumed_as=tuple(resumed_as))


def make_pool(jobs: int, device: str) -> ProcessPoolExecutor:
    """Return processes that work side by side: forked ones, but for a GPU, which a forked process cannot always use."""
    if device == "cpu":
        return ProcessPoolExecutor(jobs)
    usual = (get_start_method(),)
    return ProcessPoolExecutor(jobs, get_context("spawn"), initializer=start_workers_as, initargs=usual)


def start_workers_as(start_method: str) -> None:
    """Let loaders start their workers in this way: a process that was spawned would spawn its own, in seconds each.

    A function of this module: `set_start_method` itself is a method of an object, of which the process gets a copy.
    """
    set_start_method(start_method, force=True)


def outcome_of(each: Outcome) -> str:
    """Return whether a resumed run went on exactly, or what it was refused for, as it had to be."""
    if each.difference is not None:
        return "mismatch"
    return f"refused for {each.refused}" if each.refused else "exact"


AXES: dict[str, Callable[[Outcome], str]] = {
    "outcome": outcome_of,
    "data": lambda each: each.whole.kind,
    "workers saved x resumed": lambda each: f"{each.whole.workers.number} x {each.resumed.workers.number}",
    "persistent saved x resumed": lambda each: (
        f"{each.whole.workers.persistent:d} x {each.resumed.workers.persistent:d}"
    ),
    "prefetch factor saved x resumed": lambda each: f"{each.whole.workers.prefetch} x {each.resumed.workers.prefetch}",
    "checkpoint asked for by": lambda each: each.whole.order,
    "checkpoint taken after": lambda each: each.event,
    "place": lambda each: each.place,
    "epoch length": lambda each: str(each.whole.epoch_length),
    "accumulation": lambda each: str(each.whole.accumulation),
    "precision": lambda each: each.whole.precision,
    "optimizer": lambda each: each.whole.optimizer,
    "seeding": lambda each: str(each.whole.seeding),
    "epochs ended early": lambda each: str(bool(each.whole.ends_early)),
    "device": lambda each: each.whole.device,
    "graph": lambda each: str(each.whole.graph),
    "fetched early saved x resumed": lambda each: f"{each.whole.prefetch:d} x {each.resumed.prefetch:d}",
}


def report(outcomes: list[Outcome]) -> str:
    """Return how many resumes there were on each axis, and what went another way."""
    lines = []
    for axis, value_of in AXES.items():
        counts = Counter(value_of(each) for each in outcomes)
        lines.append(f"{axis}: " + ", ".join(f"{value or '-'} {count}" for value, count in sorted(counts.items())))
    lines += [f"not installed, so its kinds of data are missing: {name}" for name in MISSING]
    wrong = [each for each in outcomes if each.difference is not None]
    lines += [
        f"\n{each.whole}\nresumed as {each.resumed}\nfrom {each.event}, {each.place}: {each.difference}"
        for each in wrong[:20]
    ]
    return "\n".join([*lines, f"\n{len(outcomes)} resumes, {len(wrong)} mismatches\n"])


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, help="how many cases, chosen by the seed (default: all)")
    parser.add_argument("--each", type=int, help="resumes from each case at most")
    parser.add_argument("--seed", type=int, default=0, help="decides the cases")
    parser.add_argument("--device", default="cpu", help="where the model is")
    parser.add_argument("--precision", choices=sorted(set(PRECISIONS)), help="of all cases (default: chosen)")
    parser.add_argument("--prefetch", action="store_true", help="fetch batches early, on a GPU; resume also without")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes that work side by side")
    parser.add_argument("--kills", type=int, default=6, help="trainings killed by SIGKILL, each twice")
    parser.add_argument("--graph", action="store_true", help="launch each step as a CUDA graph")
    parser.add_argument("--limit-s", type=float, help="take up nothing after so many seconds")
    parser.add_argument("--leave-out", help="a part to keep out of the checkpoints")
    return parser


def chosen_cases(options: argparse.Namespace) -> list[Case]:
    """Return the cases that the command line asks for."""
    cases = cases_of(options.seed, options.device)
    if options.cases is not None:
        cases = random.Random(options.seed).sample(cases, options.cases)
    if options.each is not None:
        cases = [case._replace(resumes=options.each) for case in cases]
    cases = [
        case._replace(
            setting=with_precision(case.setting, options.precision),
            resumed_as=tuple(with_precision(each, options.precision) for each in case.resumed_as),
        )
        for case in cases
    ]
    cases = [with_graph(case) for case in cases] if options.graph else cases
    return [with_prefetch(case) for case in cases] if options.prefetch else cases


def chosen_kills(options: argparse.Namespace) -> list[tuple[Setting, tuple[Workers, ...], int]]:
    """Return the trainings to kill that the command line asks for."""
    killed = list(cases_of_kills(random.Random(options.seed), options.device))[: options.kills]
    return [(with_precision(setting, options.precision), workers, seed) for setting, workers, seed in killed]


def play_all(options: argparse.Namespace, begun: float) -> Iterator[list[Outcome]]:
    """Play the kills and the cases side by side, and yield what came of each as soon as it is over.

    Where there is a limit, nothing is begun after it; so what starts no processes of its own comes first.
    """
    cases, killed = sorted(chosen_cases(options), key=most_workers), chosen_kills(options)
    calls = [partial(kill_and_resume, *each) for each in killed]
    calls += [partial(play, case, options.leave_out) for case in cases]
    to_begin, done = iter(calls), 0
    with make_pool(options.jobs, options.device) as pool:
        running = {pool.submit(call) for call in itertools.islice(to_begin, options.jobs)}
        while running:
            over, running = wait(running, return_when=FIRST_COMPLETED)
            for future in over:
                done += 1
                print(
                    f"{done} of {len(calls)}, {time.perf_counter() - begun:.1f} s: {summary(future.result())}",
                    flush=True,
                )
                yield future.result()
            if options.limit_s is None or time.perf_counter() - begun < options.limit_s:
                running |= {pool.submit(call) for call in itertools.islice(to_begin, len(over))}


def most_workers(case: Case) -> int:
    """Return with how many workers a loader of a case fetches at most."""
    return max(each.workers.number for each in (case.setting, *case.resumed_as))


def summary(outcomes: list[Outcome]) -> str:
    """Return in one line what came of a case."""
    found = Counter(outcome_of(each) for each in outcomes)
    refused = len(outcomes) - found["exact"] - found["mismatch"]
    kind = outcomes[0].whole.kind if outcomes else "nothing to resume"
    return f"{kind}, {found['exact']} exact, {refused} refused, {found['mismatch']} wrong"


def main() -> int:
    """Play the cases; return 1 if any resume went another way."""
    options = make_parser().parse_args()
    begun = time.perf_counter()
    played = list(play_all(options, begun))
    outcomes = [each for outcomes in played for each in outcomes]
    print(f"{report(outcomes)}{len(played)} cases, in {time.perf_counter() - begun:.0f} s")
    return int(not outcomes or any(each.difference is not None for each in outcomes))


if __name__ == "__main__":
    sys.exit(main())
