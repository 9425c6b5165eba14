"""Training from a loader that takes as long as the step: one after the other, or both at once with `prefetch=True`.

The GPU trains a wide MLP. The loader makes each batch in the process of the training, and takes as long for it as the
step takes on the GPU: so waiting for one after the other costs twice the time of the longer one. Some of the loops read
the loss with `.item()` in every iteration, as loops with a progress bar do: they wait for the GPU each time.

Launching a step is work for the same process, and no loop in one thread can do that while the loader works. So the
step has few and large kernels. With `cuda_graph=True` they are launched at once.

Each loop is measured in turns with the loader alone and the step alone, and compared with the longer of the two and
with their sum, measured in the same round. Run it with `hatch run bench:prefetch` on a machine with a CUDA device.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from bars import Figure, report
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from camshaft.engine import Events
from camshaft.supervised import create_supervised_trainer

Batch = tuple[Tensor, Tensor]
Train = Callable[[], object]
FEATURES, WIDTH, BATCH_SIZE, DEPTH = 512, 8192, 1024, 2  # few large kernels
BAR = 1.15  # of the longer of the two


class Loader:
    """Makes each batch in the process that asks for it.

    Args:
        batches: what it gives, in memory of the CPU.
        seconds: what each of them takes.
    """

    def __init__(self, batches: list[Batch], seconds: float) -> None:
        self.batches = batches
        self.seconds = seconds

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        for batch in self.batches:
            ready = time.perf_counter() + self.seconds
            while time.perf_counter() < ready:
                pass
            yield batch


class Case(NamedTuple):
    """What is trained, and on what.

    Attributes:
        device: a CUDA device.
        loader: gives the batches.
        reads: whether the loss is read in every iteration.
    """

    device: torch.device
    loader: Loader
    reads: bool

    def make(self) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return the model and its optimizer."""
        return make_model(self.device)


def make_model(device: torch.device) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a wide MLP and its optimizer, the same each time."""
    torch.manual_seed(0)
    with device:
        layers = [layer for _ in range(DEPTH) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
        model = nn.Sequential(nn.Linear(FEATURES, WIDTH), *layers, nn.Linear(WIDTH, 10))
    return model, torch.optim.SGD(model.parameters(), lr=0.001, fused=True)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    """Do the step that everybody writes, and return the loss."""
    optimizer.zero_grad()
    loss = cross_entropy(model(x), y)
    loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    optimizer.step()
    return loss


# ---------------------------------------------------------------------- what is compared


def loader_alone(case: Case) -> Train:
    """Return what only fetches."""
    return lambda: [None for _ in case.loader]


def step_alone(case: Case) -> Train:
    """Return what only trains, on batches that are on the device already."""
    model, optimizer = case.make()
    batches = [(x.to(case.device), y.to(case.device)) for x, y in case.loader.batches[:2]]

    def train() -> None:
        for number in range(len(case.loader)):
            step(model, optimizer, *batches[number % 2])

    return train


def by_hand(case: Case) -> Train:
    """Return the loop that everybody writes."""
    model, optimizer = case.make()

    def train() -> None:
        for batch in case.loader:
            x, y = (part.to(case.device, non_blocking=True) for part in batch)
            loss = step(model, optimizer, x, y)
            if case.reads:
                loss.item()

    return train


def prefetching_by_hand(case: Case) -> Train:
    """Return the loop that is one batch ahead, on a stream of its own."""
    (model, optimizer), stream = case.make(), torch.cuda.Stream(case.device)  # type: ignore[no-untyped-call]

    def train() -> None:
        batches = iter(case.loader)

        def fetch() -> list[Tensor] | None:
            batch = next(batches, None)
            if batch is None:
                return None
            with torch.cuda.stream(stream):
                return [part.pin_memory().to(case.device, non_blocking=True) for part in batch]

        ahead = fetch()
        while ahead is not None:
            current = torch.cuda.current_stream(case.device)
            current.wait_stream(stream)
            for part in ahead:
                part.record_stream(current)
            loss = step(model, optimizer, *ahead)
            ahead = fetch()
            if case.reads:
                loss.item()

    return train


def by_this(case: Case, **options: Any) -> Train:
    """Return a trainer of this package."""
    trainer = create_supervised_trainer(*case.make(), cross_entropy, case.device, non_blocking=True, **options)
    if case.reads:
        trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: engine.state.output.item())
    return lambda: trainer.run(case.loader)


def prefetching(case: Case) -> Train:
    """Return a trainer of this package that prefetches."""
    return by_this(case, prefetch=True)


def prefetching_with_a_graph(case: Case) -> Train:
    """Return the same, with its step as a CUDA graph."""
    return by_this(case, prefetch=True, cuda_graph=True)


LOOPS = {
    "by hand": by_hand,
    "by hand, prefetching": prefetching_by_hand,
    "this": by_this,
    "this, prefetch=True": prefetching,
    "this, prefetch=True, cuda_graph=True": prefetching_with_a_graph,
}


# ---------------------------------------------------------------------- the figures


def seconds_of(train: Train, device: torch.device) -> float:
    """Return how long something takes, until the GPU is done."""
    torch.cuda.synchronize(device)
    begun = time.perf_counter()
    train()
    torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def in_turns(runs: dict[str, Train], device: torch.device, rounds: int) -> list[dict[str, float]]:
    """Return the seconds of each, round by round, in an order that changes."""
    names = list(runs)
    for train in runs.values():
        train()
    found = []
    for number in range(rounds):
        turn = number % len(names)
        order = names[turn:] + names[:turn]
        found.append({name: seconds_of(runs[name], device) for name in order})
    return found


def compare(name: str, case: Case, loops: Sequence[str], rounds: int) -> Iterator[Figure]:
    """Yield the ratios of some loops over one kind of memory, to the longer of loader and step, and to their sum."""
    runs = {"loader": loader_alone(case), "step": step_alone(case)}
    runs |= {loop: LOOPS[loop](case) for loop in loops}
    measured = in_turns(runs, case.device, rounds)
    yield Figure(f"{name}: loader / step", statistics.median(each["loader"] / each["step"] for each in measured))
    for loop in loops:
        to_longer = statistics.median(each[loop] / max(each["loader"], each["step"]) for each in measured)
        to_sum = statistics.median(each[loop] / (each["loader"] + each["step"]) for each in measured)
        at_most = BAR if "prefetch=True" in loop else None
        yield Figure(f"{name}: {loop} / the longer of the two", to_longer, at_most=at_most)
        yield Figure(f"{name}: {loop} / the sum of the two", to_sum)


def figures(iterations: int, rounds: int) -> Iterator[Figure]:
    """Yield the figures of pageable and of pinned batches, with the loss read in every iteration, and without."""
    device = torch.device("cuda")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH_SIZE, FEATURES, generator=generator)
    y = torch.randint(10, (BATCH_SIZE,), generator=generator)
    warm_up = step_alone(Case(device, Loader([(x, y)] * iterations, 0.0), reads=False))
    warm_up()
    seconds = seconds_of(warm_up, device) / iterations
    for memory, reads in (("pageable", True), ("pageable", False), ("pinned", True)):
        batch = (x, y) if memory == "pageable" else (x.pin_memory(), y.pin_memory())
        name = f"{memory}, {'loss read' if reads else 'nothing read'}"
        loops = list(LOOPS) if name == "pageable, loss read" else ("by hand", "this, prefetch=True")
        yield from compare(name, Case(device, Loader([batch] * iterations, seconds), reads), loops, rounds)


def main() -> None:
    """Measure and print; exit with an error if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=50, help="iterations of a run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of which the median is shown")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("nothing was measured: CUDA is not available")
        return
    print(f"on {torch.cuda.get_device_name()}")
    sys.exit(report(figures(options.iterations, options.rounds)))


if __name__ == "__main__":
    main()
