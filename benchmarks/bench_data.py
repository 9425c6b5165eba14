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
import random
import statistics
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import GeneratorType
from typing import Any

import numpy as np
import torch
from bars import Figure, report
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


class SeededByHand(Cheap):
    """Does by hand what exact data takes at least: seeds the three generators, and puts them back after the batch.

    Args:
        size: number of samples.
        per_sample: whether they are seeded before each sample; else once for each batch.
    """

    def __init__(self, size: int, per_sample: bool) -> None:
        super().__init__(size)
        self.per_sample = per_sample

    def __getitems__(self, indices: list[int]) -> list[int]:
        """Fetch a batch."""
        before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        seed_by_hand(indices[0])
        samples = []
        for index in indices:
            if self.per_sample:
                seed_by_hand(index)
            samples.append(self[index])
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
        return samples


def seed_by_hand(seed: int) -> None:
    """Seed the three generators as quickly as they can be."""
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)


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


def rows_per_sample(samples: int, rounds: int) -> list[Figure]:
    """Compare what a sample costs above torch's own loader under a plain engine."""
    reference, stateful = found("ignite.engine"), found("torchdata.stateful_dataloader")

    def shuffled(kind: Any = DataLoader) -> Any:
        return kind(Cheap(samples), BATCH_SIZE, shuffle=True)

    def by_hand(per_sample: bool) -> Any:
        return DataLoader(SeededByHand(samples, per_sample), BATCH_SIZE, shuffle=True)

    cases: dict[str, Run] = {
        "plain": lambda: Engine(nothing).run(shuffled()),
        "batch by hand": lambda: Engine(nothing).run(by_hand(per_sample=False)),
        "sample by hand": lambda: Engine(nothing).run(by_hand(per_sample=True)),
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
        Figure("torch's DataLoader alone", seconds["plain"] / samples * 1e6, "us"),
        Figure("above it: this, seeded per batch", above("batch"), "us"),
        Figure("above it: this, seeded per sample", above("sample"), "us"),
        Figure("above it: seeded by hand per sample", above("sample by hand"), "us"),
        Figure(
            "time of this / by hand, seeded per batch", seconds["batch"] / seconds["batch by hand"], "x", at_most=1.6
        ),
        Figure(
            "time of this / by hand, seeded per sample", seconds["sample"] / seconds["sample by hand"], "x", at_most=1.6
        ),
        Figure("above it: torchdata's StatefulDataLoader", above("stateful"), "us"),
        Figure("above its plain engine: the reference", above("reference", "reference plain"), "us"),
    ]


def _iterable(loader: Any) -> Iterator[Any]:
    yield from loader


def rows_of_skipping(rounds: int) -> list[Figure]:
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
        Figure("torch's order, drawn and dropped", seconds["torch's order alone"], "s"),
        Figure("this", seconds["ours"], "s"),
        Figure(
            "time of this / torch's order alone", seconds["ours"] / seconds["torch's order alone"], "x", at_most=0.2
        ),
        Figure("this: samples fetched to be skipped", fetched, "samples", at_most=0),
        Figure("torchdata's StatefulDataLoader", seconds.get("stateful"), "s"),
        Figure("the reference's DeterministicEngine", seconds.get("reference"), "s"),
    ]


class _Doubling(DataLoader[Any]):
    """Iterates in a way of its own: a pass over it is drawn again, and the last batch is compared."""

    def __iter__(self) -> Any:
        return (batch * 2 for batch in super().__iter__())


def rows_of_the_check(rounds: int) -> list[Figure]:
    """Measure what it costs that a resumed run compares a batch with what the saved run had there."""
    batches = [torch.rand(BATCH_SIZE, 64) for _ in range(5_000)]
    pairs = [(batch, torch.arange(BATCH_SIZE)) for batch in batches]
    numbers = list(range(len(batches)))
    seconds = in_turns(
        {
            "numbers": lambda: DeterministicEngine(nothing).run(numbers),
            "pairs": lambda: DeterministicEngine(nothing).run(pairs),
            "generator by hand": lambda: Engine(nothing).run(_noting(batches)),
            "generator": lambda: DeterministicEngine(nothing).run(batch for batch in batches),
        },
        rounds,
    )
    return [
        Figure(
            "loader of a map-style dataset: samples fetched to compare, in one resume",
            _fetched_to_compare(DataLoader),
            "samples",
            at_most=3 * BATCH_SIZE,  # the batch twice, and as many samples before it
        ),
        Figure(
            "loader with an __iter__ of its own: the same",
            _fetched_to_compare(_Doubling),
            "samples",
            at_most=BATCH_SIZE,
        ),
        Figure(
            "an iteration over a list: pairs of tensors / numbers",
            seconds["pairs"] / seconds["numbers"],
            "x",
            at_most=1.5,
        ),
        Figure("an iteration over a generator", seconds["generator"] / len(batches) * 1e6, "us"),
        Figure(
            "the same / noting by hand where the generators stand",
            seconds["generator"] / seconds["generator by hand"],
            "x",
            at_most=1,
        ),
    ]


def _fetched_to_compare(kind: type[DataLoader[Any]]) -> int:
    """Return how many samples a resume in the middle of a pass fetches besides those that it gives out or skips."""
    size, done = 100 * BATCH_SIZE, 60
    data = Cheap(size)
    loader = kind(data, BATCH_SIZE, shuffle=True)
    saved, resumed = DeterministicEngine(nothing), DeterministicEngine(nothing)
    saved.add_event_handler(Events.ITERATION_COMPLETED(once=done), saved.terminate)
    saved.run(loader, max_epochs=2)
    resumed.load_state_dict(saved.state_dict())
    resumed.add_event_handler(Events.EPOCH_COMPLETED, resumed.terminate)
    data.fetched = 0
    resumed.run(loader)
    needed = size if kind is _Doubling else size - done * BATCH_SIZE
    return data.fetched - needed


def _noting(batches: Iterable[Any]) -> Iterator[Any]:
    """Give out batches, and keep for each where the generators stood."""
    for batch in batches:
        before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        yield batch
        del before


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


def rows_of_memory() -> list[Figure]:
    """Measure how long a keyed order takes to a place deep inside it, and what orders hold for each sample."""
    keyed = DataLoader(Cheap(HUGE), BATCH_SIZE, sampler=KeyedSampler(HUGE))
    cases: dict[str, Run] = {
        "keyed": lambda: _resume(DeterministicEngine(nothing), keyed, len(keyed) - 1),
        "first batch": lambda: DeterministicEngine(nothing).run(keyed, max_epochs=1, epoch_length=1, seed=1),
    }
    seconds = in_turns(cases, 9)
    reference = found("ignite.engine")
    return [
        Figure(f"keyed order, last batch of {HUGE:,} samples", seconds["keyed"] * 1e3, "ms"),
        Figure("time to the last batch / to the first", seconds["keyed"] / seconds["first batch"], "x", at_most=2),
        Figure(
            "keyed order: held for each sample",
            bytes_per_sample(DeterministicEngine, Events, KeyedSampler),
            "bytes",
            at_most=0.01,
        ),
        Figure("torch's random sampler: this", bytes_per_sample(DeterministicEngine, Events), "bytes", at_most=8),
        Figure("torch's random sampler: a plain engine", bytes_per_sample(Engine, Events), "bytes"),
        Figure(
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


def figures(samples: int, rounds: int) -> Iterator[Figure]:
    """Measure everything, table by table."""
    tables: list[tuple[str, Callable[[], list[Figure]]]] = [
        ("a sample of a cheap dataset, batches of 32", lambda: rows_per_sample(samples, rounds)),
        (f"resumed at the last batch of {SKIPPED:,} samples", lambda: rows_of_skipping(3)),
        ("what a resumed run compares", lambda: rows_of_the_check(rounds)),
        ("orders", rows_of_memory),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the rivals' own
        for title, measure in tables:
            print(title)
            yield from measure()


def main() -> str | None:
    """Print the tables; return which bars are missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000, help="samples of a run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds of which the median is shown")
    options = parser.parse_args()
    torch.set_num_threads(1)
    return report(figures(options.samples, options.rounds))


if __name__ == "__main__":
    sys.exit(main())
