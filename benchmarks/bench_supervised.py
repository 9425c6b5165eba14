"""The cost of a supervised step: against a loop written by hand, beside the reference, Lightning and Accelerate.

Each trains the same model on the same batches. They run in turns, in a new random order in each round. A figure is the
median of the ratios to the loop by hand of the same round; a second loop by hand shows the noise. Run it with
`hatch run bench:supervised`; what is not installed is reported as missing.

What is measured is smaller than what a machine drifts by, so the turns are short and many. Where in memory a model lies
matters as much, so all of them are made anew after some rounds. A turn leaves out the start of the run.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

import torch
from bars import Figure, report
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from camshaft.supervised import create_supervised_trainer

Batches = list[tuple[Tensor, Tensor]]
WARM_UP = 3  # iterations of a turn that are not timed
ROUNDS_OF_A_MODEL = 3
CPU_BAR, GPU_BAR = 1.03, 1.02


class TimedBatches:
    """Hands out batches, and measures how long the iterations over them take, but for the first few and the last.

    Args:
        batches: at least `WARM_UP + 2` of them.
        now: returns a time in seconds.

    Attributes:
        seconds: what the last pass took.
    """

    def __init__(self, batches: Batches, now: Callable[[], float]) -> None:
        self.batches = batches
        self.now = now
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from self.batches[:WARM_UP]
        begun = self.now()
        yield from self.batches[WARM_UP:-1]
        self.seconds = self.now() - begun
        yield self.batches[-1]


Train = Callable[[TimedBatches], object]  # trains over all batches


class Task(NamedTuple):
    """What is trained: each trainer gets a model of its own."""

    name: str
    device: torch.device
    make_model: Callable[[], nn.Module]
    batches: Batches
    bar: float
    graph_bar: float | None = None  # how many times as fast as the loop by hand a CUDA graph is

    def make(self, **options: bool) -> tuple[nn.Module, torch.optim.Optimizer]:
        """Return the model and its optimizer, the same each time."""
        torch.manual_seed(0)
        model = self.make_model().to(self.device)
        return model, torch.optim.SGD(model.parameters(), lr=0.01, **options)

    def now(self) -> float:
        """Return a time in seconds: that of the thread, or on a GPU that when all that was begun is done."""
        if self.device.type == "cpu":
            return time.thread_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()


def make_mlp() -> nn.Module:
    """Return three linear layers."""
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def make_conv_net() -> nn.Module:
    """Return a small network of convolutions."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def make_batches(shape: tuple[int, ...], count: int, device: torch.device) -> Batches:
    """Return random inputs with random labels, on the device."""
    generator = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(32, *shape, generator=generator).to(device),
            torch.randint(10, (32,), generator=generator).to(device),
        )
        for _ in range(count)
    ]


def make_tasks(iterations: int, device: str) -> list[Task]:
    """Return what is trained on a kind of device."""
    place = torch.device(device)
    if place.type == "cpu":
        return [Task("MLP, CPU", place, make_mlp, make_batches((64,), iterations, place), CPU_BAR)]
    return [
        Task("MLP, GPU", place, make_mlp, make_batches((64,), iterations, place), GPU_BAR, 5),
        Task("conv net, GPU", place, make_conv_net, make_batches((3, 32, 32), iterations, place), GPU_BAR, 2),
    ]


# ---------------------------------------------------------------------- what is compared


def by_hand(task: Task) -> Train:
    """Return the loop that everybody writes."""
    model, optimizer = task.make()

    def train(data: TimedBatches) -> None:
        model.train()
        for x, y in data:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimizer.step()

    return train


def by_this(task: Task) -> Train:
    """Return a trainer of this package."""
    return create_supervised_trainer(*task.make(), cross_entropy).run


def by_graph(task: Task) -> Train:
    """Return a trainer of this package that launches each step as a CUDA graph."""
    return create_supervised_trainer(*task.make(fused=True), cross_entropy, cuda_graph=True).run


def by_reference(task: Task) -> Train:
    """Return a trainer of the reference: a package of ours may have the same import name."""
    importlib.metadata.distribution("pytorch-ignite")
    train: Train = import_module("ignite.engine").create_supervised_trainer(*task.make(), cross_entropy).run
    return train


def by_accelerate(task: Task) -> Train:
    """Return the hand-written loop as Accelerate wants it."""
    accelerator = import_module("accelerate").Accelerator(cpu=task.device.type == "cpu")
    # Its first instance decides the device for all: the model stays where the task has put it.
    model, optimizer = accelerator.prepare(*task.make(), device_placement=[False, False])

    def train(data: TimedBatches) -> None:
        model.train()
        for x, y in data:
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y)
            accelerator.backward(loss)
            optimizer.step()

    return train


def by_lightning(task: Task) -> Train:
    """Return a Lightning trainer without logger, progress bar and checkpoints."""
    lightning: Any = import_module("lightning.pytorch")

    class Module(lightning.LightningModule):  # type: ignore[misc]  # known only when it runs
        def __init__(self) -> None:
            super().__init__()
            self.model, self.optimizer = task.make()

        def training_step(self, batch: Any, index: int) -> Tensor:
            x, y = batch
            return cross_entropy(self.model(x), y)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return self.optimizer

    module = Module()
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_checkpointing", "enable_model_summary"), False)

    def train(data: TimedBatches) -> None:
        accelerator = "gpu" if task.device.type == "cuda" else "cpu"
        lightning.Trainer(accelerator=accelerator, devices=1, max_epochs=1, **quiet).fit(module, data)

    return train


RIVALS = {"reference": by_reference, "Lightning": by_lightning, "Accelerate": by_accelerate}


# ---------------------------------------------------------------------- the figures


def ratios(task: Task, makers: dict[str, Callable[[Task], Train]], rounds: int) -> dict[str, float]:
    """Return each one's median ratio to the loop by hand, all of them measured in turns."""
    data, shuffled = TimedBatches(task.batches, task.now), random.Random(0)
    names = list(makers)
    found: dict[str, list[float]] = {name: [] for name in names}
    trains: dict[str, Train] = {}
    for number in range(rounds):
        shuffled.shuffle(names)  # nothing always comes first, nor always follows the same
        if number % ROUNDS_OF_A_MODEL == 0:
            trains = {name: makers[name](task) for name in names}
            for train in trains.values():
                train(data)
        seconds = {}
        for name in names:
            trains[name](data)
            seconds[name] = data.seconds
        for name in names:
            found[name].append(seconds[name] / seconds["by hand"])
    return {name: statistics.median(values) for name, values in found.items()}


def compare(task: Task, rounds: int) -> Iterator[Figure]:
    """Yield the ratios of one task."""
    makers: dict[str, Callable[[Task], Train]] = {"by hand": by_hand, "by hand again": by_hand, "this": by_this}
    if task.graph_bar is not None:
        makers["this as a graph"] = by_graph
    for name, make in RIVALS.items():
        try:
            make(task)
        except ImportError as error:
            print(f"{task.name}: {name} is missing: {error}")
        else:
            makers[name] = make
    for name, figure in ratios(task, makers, rounds).items():
        if name == "this as a graph":
            yield Figure(f"{task.name}: by hand / {name}", 1 / figure, at_least=task.graph_bar)
        elif name != "by hand":
            yield Figure(f"{task.name}: {name} / by hand", figure, at_most=task.bar if name == "this" else None)


def count_waits(task: Task) -> Iterator[Figure]:
    """Yield how often an epoch waits for the GPU, in full precision and in bfloat16."""
    for amp_mode in (None, "amp"):
        trainer = create_supervised_trainer(*task.make(), cross_entropy, device=task.device, amp_mode=amp_mode)
        trainer.run(task.batches)
        torch.cuda.set_sync_debug_mode("warn")  # whose first call gives a warning too, about the mode itself
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer.run(task.batches)
        torch.cuda.set_sync_debug_mode("default")
        count = sum("called a synchronizing" in str(warning.message) for warning in caught)
        yield Figure(f"{task.name}: waits for the GPU in an epoch, {amp_mode or 'full'}", count, "", at_most=0)


def figures(iterations: int, rounds: int, devices: list[str]) -> Iterator[Figure]:
    """Yield the figures of all tasks on some devices."""
    for task in [task for device in devices for task in make_tasks(iterations, device)]:
        yield from compare(task, rounds)
        if task.device.type == "cuda":
            yield from count_waits(task)


def main() -> None:
    """Measure and print; exit with an error if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=50, help="iterations of a turn (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=300, help="rounds of which the median is shown")
    present = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    parser.add_argument("--device", nargs="+", default=present, help="cpu, cuda or both (default: what is there)")
    options = parser.parse_args()
    if options.iterations < WARM_UP + 2:
        parser.error(f"--iterations must be at least {WARM_UP + 2}, got {options.iterations}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the rivals'
    logging.disable(logging.WARNING)
    if "cuda" not in options.device:
        print("nothing is measured on a GPU")
    sys.exit(report(figures(options.iterations, options.rounds, options.device)))


if __name__ == "__main__":
    main()
