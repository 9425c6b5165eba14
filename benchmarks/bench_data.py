"""What exact resume costs where the data is loaded: time per sample, time to skip, memory of an order.

Each figure stands beside those of others that do the same, measured in the same run and in turns: torch's own loader,
the reference's deterministic engine, torchdata's stateful loader. One that is not installed is named as missing.

Run: hatch run bench:data
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import statistics
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import GeneratorType
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler

from camshaft.deterministic import DeterministicEngine, KeyedSampler
from camshaft.engine import Engine, Events

BATCH_SIZE = 32
SKIPPED, HUGE = 1_280_000, 100_000_000
Run = Callable[[], object]


class Cheap(Dataset[int]):
    """Samples that cost next to nothing; the worst case for a price per sample."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.fetched = 0

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        self.fetched += 1
        return index


class Row(NamedTuple):
    """One line of a table; without a bar it is there to compare with."""

    what: str
    figure: float | None
    unit: str
    bar: float | None = None

    @property
    def is_missed(self) -> bool:
        """Whether the bar is missed."""
        return self.bar is not None and (self.figure is None or self.figure > self.bar)

    def __str__(self) -> str:
        figure = "not installed" if self.figure is None else f"{self.figure:>13,.2f}"
        verdict = "" if self.bar is None else f"<= {self.bar:<6g} {'MISSED' if self.is_missed else 'ok'}"
        return f"  {self.what:<56}{figure} {self.unit:<8} {verdict}"


def found(name: str) -> Any:
    """Return a module of a rival, None when it is not installed."""
    top = name.partition(".")[0]
    return None if importlib.util.find_spec(top) is None else importlib.import_module(name)


def in_turns(cases: dict[str, Run], rounds: int) -> dict[str, float]:
    """Return the median seconds of each case, measured in turns, in CPU time of this thread."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name, run in cases.items():
            begun = time.thread_time()
            run()
            if number:  # the first round is to get warm
                seconds[name].append(time.thread_time() - begun)
    return {name: statistics.median(times) for name, times in seconds.items()}


def nothing(_engine: Any, _batch: Any) -> None:
    """Do no step: what is left is the data."""


def rows_per_sample(samples: int, rounds: int) -> list[Row]:
    """Compare what a sample costs above torch's own loader under a plain engine."""
    reference, stateful = found("ignite.engine"), found("torchdata.stateful_dataloader")

    def shuffled(kind: Any = DataLoader) -> Any:
        return kind(Cheap(samples), BATCH_SIZE, shuffle=True)

    cases: dict[str, Run] = {
        "plain": lambda: Engine(nothing).run(shuffled()),
        "batch": lambda: DeterministicEngine(nothing, seeding="batch").run(shuffled()),
        "sample": lambda: DeterministicEngine(nothing, seeding="sample").run(shuffled()),
    }
    if stateful is not None:
        cases["stateful"] = lambda: Engine(nothing).run(_iterable(shuffled(stateful.StatefulDataLoader)))
    if reference is not None:
        cases["reference plain"] = lambda: reference.Engine(nothing).run(shuffled())
        cases["reference"] = lambda: reference.DeterministicEngine(nothing).run(shuffled())
    seconds = in_turns(cases, rounds)

    def above(name: str, floor: str = "plain") -> float | None:
        return (seconds[name] - seconds[floor]) / samples * 1e6 if name in seconds else None

    return [
        Row("torch's DataLoader alone", seconds["plain"] / samples * 1e6, "us"),
        Row("above it: this, seeded per batch", above("batch"), "us", 3.5),
        Row("above it: this, seeded per sample", above("sample"), "us", 15),
        Row("above it: torchdata's StatefulDataLoader", above("stateful"), "us"),
        Row("above its plain engine: the reference", above("reference", "reference plain"), "us"),
    ]


def _iterable(loader: Any) -> Iterator[Any]:
    yield from loader


def rows_of_skipping(rounds: int) -> list[Row]:
    """Compare the time to the first batch of a run resumed at the last batch, and what was fetched for it."""
    data = Cheap(SKIPPED)
    loader = DataLoader(data, BATCH_SIZE, shuffle=True)
    last = len(loader) - 1

    def ours() -> None:
        _resume(DeterministicEngine(nothing), loader, last)

    cases: dict[str, Run] = {"ours": ours, "torch's order alone": lambda: _exhaust(loader.batch_sampler or ())}
    reference, stateful = found("ignite.engine"), found("torchdata.stateful_dataloader")
    if reference is not None:
        cases["reference"] = lambda: _resume(reference.DeterministicEngine(nothing), loader, last)
    if stateful is not None:
        state = _state_behind(stateful.StatefulDataLoader, last)
        cases["stateful"] = lambda: _resume_stateful(stateful.StatefulDataLoader, state)
    ours()
    fetched = data.fetched - (SKIPPED - last * BATCH_SIZE)
    seconds = in_turns(cases, rounds)
    return [
        Row("torch's order, drawn and dropped", seconds["torch's order alone"], "s"),
        Row("this", seconds["ours"], "s", 0.6),
        Row("this: samples fetched to be skipped", fetched, "samples", 0),
        Row("torchdata's StatefulDataLoader", seconds.get("stateful"), "s"),
        Row("the reference's DeterministicEngine", seconds.get("reference"), "s"),
    ]


def _resume(engine: Any, loader: Any, done: int) -> None:
    state = {"iteration": done, "epoch_length": len(loader), "max_epochs": 1, "seed": 1, "rng_states": None}
    engine.load_state_dict(state)
    engine.run(loader)


def _resume_stateful(kind: Any, state: Any) -> None:
    loader = kind(Cheap(SKIPPED), BATCH_SIZE, shuffle=True)
    loader.load_state_dict(state)
    next(iter(loader))


def _state_behind(kind: Any, batches: int) -> Any:
    """Return what a stateful loader writes behind so many batches."""
    loader = kind(Cheap(SKIPPED), BATCH_SIZE, shuffle=True)
    _exhaust(islice(loader, batches))
    return loader.state_dict()


def _exhaust(batches: Iterable[Any]) -> None:
    for _ in batches:
        pass


def rows_of_memory() -> list[Row]:
    """Measure how long a keyed order takes to a place deep inside it, and what orders hold for each sample."""
    keyed = DataLoader(Cheap(HUGE), BATCH_SIZE, sampler=KeyedSampler(HUGE))
    seconds = in_turns({"keyed": lambda: _resume(DeterministicEngine(nothing), keyed, len(keyed) - 1)}, 9)["keyed"]
    reference = found("ignite.engine")
    return [
        Row(f"keyed order, last batch of {HUGE:,} samples", seconds * 1e3, "ms", 10),
        Row(
            "keyed order: held for each sample",
            bytes_per_sample(DeterministicEngine, Events, KeyedSampler),
            "bytes",
            0.01,
        ),
        Row("torch's random sampler: this", bytes_per_sample(DeterministicEngine, Events), "bytes", 8),
        Row("torch's random sampler: a plain engine", bytes_per_sample(Engine, Events), "bytes"),
        Row(
            "torch's random sampler: the reference",
            bytes_per_sample(reference.DeterministicEngine, reference.Events) if reference is not None else None,
            "bytes",
        ),
    ]


def bytes_per_sample(engine: Any, events: Any, sampler: Any = RandomSampler) -> float:
    """Return what a run holds for each further sample of its order: that of twice as many, less that of as many."""
    few, many = (held_in_run(engine, events, sampler, size) for size in (SKIPPED, 2 * SKIPPED))
    return max(0.0, round((many - few) / SKIPPED, 2))


def held_in_run(engine_class: Any, events: Any, sampler: Any, size: int) -> int:
    """Return how many bytes more are held inside a run than before it.

    Counts what Python holds, and tensors by themselves: their memory is none of Python's.
    """
    data = Cheap(size)
    loader, engine, held = DataLoader(data, BATCH_SIZE, sampler=sampler(data)), engine_class(nothing), []

    def weigh() -> None:
        held.append(tracemalloc.get_traced_memory()[0] + bytes_of_tensors())

    before = bytes_of_tensors()
    tracemalloc.start()
    engine.add_event_handler(events.ITERATION_COMPLETED(once=2), weigh)
    engine.run(loader, max_epochs=1, epoch_length=3)
    tracemalloc.stop()
    return int(held[0] - before)


def bytes_of_tensors() -> int:
    """Return what the tensors hold that are alive, each memory once."""
    objects = gc.get_objects()
    suspended = [each.gi_frame for each in objects if isinstance(each, GeneratorType) and each.gi_frame is not None]
    objects += [value for frame in suspended for value in frame.f_locals.values()]  # numbers of a waiting generator
    storages = [each.untyped_storage() for each in objects if isinstance(each, torch.Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def main() -> int:
    """Print the tables; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000, help="samples of a run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of which the median is shown")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tables: list[tuple[str, Callable[[], list[Row]]]] = [
        ("a sample of a cheap data set, batches of 32", lambda: rows_per_sample(options.samples, options.rounds)),
        (f"resumed at the last batch of {SKIPPED:,} samples", lambda: rows_of_skipping(3)),
        ("orders", rows_of_memory),
    ]
    missed = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the rivals' own
        for title, make in tables:
            rows = make()
            print(title, *rows, sep="\n", flush=True)
            missed = missed or any(row.is_missed for row in rows)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
