"""The cost of an attached handler: against the same loop without it, and against its work written by hand.

A small training step is run by an engine with the handler, by an engine without it, and by a loop that does the work
of the handler by hand. Each figure is the median of ratios of two of these. They are measured in turns, in CPU time of
the thread. Run it with `hatch run bench:handlers`; handlers whose extra is not installed are reported as missing.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import io
import json
import math
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from bars import Figure, report
from torch.optim.lr_scheduler import StepLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from camshaft.engine import Engine, Events
from camshaft.handlers import (
    CSVLogger,
    EarlyStopping,
    ExponentialMovingAverage,
    ExtraMissingError,
    History,
    LRScheduler,
    Profiler,
    ProgressBar,
    RunningAverage,
    TensorBoardLogger,
    TerminateOnNan,
    TimeLimit,
    Timer,
)

AnyEngine = Engine[Any, Any]
Attach = Callable[[AnyEngine], object]
ByHand = Callable[[Iterable[Any]], object]
Thunk = Callable[[], object]
STORE_EVERY = 10  # iterations from one written value to the next


class Training:
    """A model so small that the cost of a handler shows."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-3)
        self.batch = torch.randn(16, 32)

    def step(self, engine: object, batch: object) -> torch.Tensor:
        """Make a training step."""
        self.optimizer.zero_grad()
        loss = self.model(self.batch).square().mean()
        loss.backward()
        self.optimizer.step()
        return torch.as_tensor(loss).detach()


class Case(NamedTuple):
    """A handler: how it is attached, the same work by hand, and the two bars."""

    name: str
    attach: Attach
    by_hand: ByHand | None
    at_most: float
    at_most_by_hand: float = math.nan


def named(loss: Any) -> dict[str, Any]:
    """Return the values to show or to write."""
    return {"loss": loss}


def score(engine: AnyEngine) -> float:
    """Return the output as a number."""
    return float(engine.state.output or 0.0)


# ---------------------------------------------------------------------- the same work by hand


def time_by_hand(data: Iterable[Any]) -> None:
    """Measure each step and count it."""
    total, clock = 0.0, time.perf_counter
    for _ in data:
        begin = clock()
        total += clock() - begin


def limit_by_hand(data: Iterable[Any]) -> None:
    """Look at the clock."""
    end, clock = time.monotonic() + 1000, time.monotonic
    for _ in data:
        if clock() > end:
            break


def stop_by_hand(data: Iterable[Any]) -> None:
    """Compare each output with the best one."""
    best, counter = -math.inf, 0
    for output in map(float, data):
        if output > best:
            best, counter = output, 0
        elif (counter := counter + 1) >= 10**9:
            break


def check_by_hand(data: Iterable[Any]) -> None:
    """Ask each output whether it is finite."""
    for output in data:
        if not math.isfinite(float(output)):
            break


def history_by_hand(folder: Path) -> ByHand:
    """Write JSON lines."""

    def run(data: Iterable[Any]) -> None:
        with (folder / "hand.jsonl").open("w") as file:
            for step, output in enumerate(data, 1):
                if not step % STORE_EVERY:
                    file.write(f"{json.dumps({'epoch': step, 'loss': float(output)})}\n")
                    file.flush()

    return run


def csv_by_hand(folder: Path) -> ByHand:
    """Write rows of a table."""

    def run(data: Iterable[Any]) -> None:
        with (folder / "hand.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "loss"])
            for step, output in enumerate(data, 1):
                if not step % STORE_EVERY:
                    writer.writerow([step, float(output)])
                    file.flush()

    return run


def bar_by_hand(data: Iterable[Any]) -> None:
    """Draw a bar and show each output in it."""
    bar = importlib.import_module("tqdm").tqdm(data, file=io.StringIO())
    for output in bar:
        bar.set_postfix({"loss": float(output)}, refresh=False)


def board_by_hand(folder: Path) -> ByHand:
    """Write scalars with torch's writer."""
    make_writer = importlib.import_module("torch.utils.tensorboard").SummaryWriter

    def run(data: Iterable[Any]) -> None:
        with make_writer(folder / "board-by-hand") as writer:
            for step, output in enumerate(data, 1):
                if not step % STORE_EVERY:
                    writer.add_scalar("loss", float(output), step)

    return run


def schedule_by_hand(training: Training) -> ByHand:
    """Step a scheduler."""
    scheduler = StepLR(training.optimizer, 10**9)

    def run(data: Iterable[Any]) -> None:
        for _ in data:
            scheduler.step()

    return run


def smooth_by_hand(data: Iterable[Any]) -> None:
    """Keep a running average of the loss."""
    average: Any = None
    for output in data:
        average = output if average is None else average.lerp(output, 0.02)


def average_by_hand(training: Training) -> ByHand:
    """Average the weights."""
    make_average: Any = get_ema_multi_avg_fn  # it has no types
    averaged = AveragedModel(training.model, multi_avg_fn=make_average(0.999), use_buffers=True)

    def run(data: Iterable[Any]) -> None:
        for _ in data:
            averaged.update_parameters(training.model)

    return run


# ---------------------------------------------------------------------- what is compared


def cases_without_extras(training: Training, folder: Path) -> Iterator[Case]:
    """Yield the handlers that need no extra."""
    each, sometimes = Events.ITERATION_COMPLETED, Events.ITERATION_COMPLETED(every=STORE_EVERY)
    yield Case("nothing", lambda engine: None, lambda data: [None for _ in data], 1.05, 1.05)
    yield Case(
        "Timer around each step",
        lambda engine: Timer(average=True).attach(
            engine, start=Events.STARTED, resume=Events.ITERATION_STARTED, pause=each, step=each
        ),
        time_by_hand, 1.1, 1.1,
    )  # fmt: skip
    yield Case("TimeLimit", lambda engine: engine.add_event_handler(each, TimeLimit(1000)), limit_by_hand, 1.05, 1.05)
    yield Case(
        "EarlyStopping in each iteration",
        lambda engine: EarlyStopping(10**9, score, engine).attach(engine, each),
        stop_by_hand, 1.1, 1.1,
    )  # fmt: skip
    yield Case(
        "TerminateOnNan", lambda engine: engine.add_event_handler(each, TerminateOnNan()), check_by_hand, 1.2, 1.2
    )
    history, log = History(folder / "history.jsonl"), CSVLogger(folder / "log.csv")
    yield Case(
        f"History every {STORE_EVERY}", lambda engine: history.attach(engine, sometimes, output_transform=named),
        history_by_hand(folder), 1.15, 1.15,
    )  # fmt: skip
    yield Case(
        f"CSVLogger every {STORE_EVERY}", lambda engine: log.attach(engine, sometimes, output_transform=named),
        csv_by_hand(folder), 1.15, 1.15,
    )  # fmt: skip
    yield Case("Profiler", lambda engine: Profiler(max_slices=0).attach(engine), None, 1.25)
    yield Case("Profiler after its last iteration", lambda engine: Profiler(1, 2).attach(engine), None, 1.03)
    scheduler = LRScheduler(StepLR(training.optimizer, 10**9))
    yield Case("LRScheduler", scheduler.attach, schedule_by_hand(training), 1.1, 1.05)
    yield Case("RunningAverage", lambda engine: RunningAverage().attach(engine, "loss"), smooth_by_hand, 1.1, 1.1)
    average = ExponentialMovingAverage(training.model)
    yield Case("ExponentialMovingAverage", average.attach, average_by_hand(training), 1.8, 1.05)


def case_of_the_bar() -> Iterator[Case]:
    """Yield the progress bar, which writes into memory."""
    bar = ProgressBar(file=io.StringIO())
    yield Case("ProgressBar", lambda engine: bar.attach(engine, output_transform=named), bar_by_hand, 1.1, 1.0)


def case_of_the_board(folder: Path) -> Iterator[Case]:
    """Yield the logger for TensorBoard."""
    logger, event = TensorBoardLogger(folder / "board"), Events.ITERATION_COMPLETED(every=STORE_EVERY)
    yield Case(
        f"TensorBoardLogger every {STORE_EVERY}",
        lambda engine: logger.attach(engine, event, output_transform=named), board_by_hand(folder), 1.2, 1.1,
    )  # fmt: skip


def make_cases(training: Training, folder: Path) -> Iterator[Case]:
    """Yield every handler that can be measured here, and print which cannot."""
    yield from cases_without_extras(training, folder)
    for cases in (case_of_the_bar(), case_of_the_board(folder)):
        try:
            yield from cases
        except ExtraMissingError as error:
            print(f"missing: {error}")
    print("missing: MLflowLogger, whose time is that of a server")


# ---------------------------------------------------------------------- measuring


def ratio(case: Thunk, floor: Thunk, rounds: int) -> float:
    """Return the median of the ratios of two functions, measured in turns."""
    ratios = []
    for number in range(rounds):
        seconds: dict[Thunk, float] = {}
        for run in (case, floor) if number % 2 else (floor, case):
            begin = time.thread_time()
            run()
            seconds[run] = time.thread_time() - begin
        ratios.append(seconds[case] / seconds[floor])
    return statistics.median(ratios)


def running(step: Callable[[Any, Any], Any], data: Iterable[Any], attach: Attach) -> Thunk:
    """Return a function that runs an engine over the data."""
    engine: AnyEngine = Engine(step)
    attach(engine)
    engine.run(data)
    return lambda: engine.run(data)


def measure(case: Case, training: Training, iterations: int, rounds: int) -> Iterator[Figure]:
    """Yield both figures of a handler."""
    data = range(iterations)
    attached, plain = (running(training.step, data, attach) for attach in (case.attach, lambda engine: None))
    yield Figure(f"{case.name} / without it", ratio(attached, plain, rounds), at_most=case.at_most)
    if case.by_hand is not None:
        by_hand = case.by_hand
        outputs: Thunk = lambda: by_hand(training.step(None, batch) for batch in data)  # noqa: E731  # it is timed
        yield Figure(f"{case.name} / by hand", ratio(attached, outputs, rounds), at_most=case.at_most_by_hand)


def figures(iterations: int, rounds: int) -> Iterator[Figure]:
    """Yield the figures of all handlers."""
    training = Training()
    with tempfile.TemporaryDirectory() as folder:
        for case in make_cases(training, Path(folder)):
            yield from measure(case, training, iterations, rounds)


def main() -> None:
    """Measure and print; exit with an error if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=200, help="iterations of a run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=41, help="rounds of which the median is shown")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")  # by hand there is no optimizer step
    sys.exit(report(figures(options.iterations, options.rounds)))


if __name__ == "__main__":
    main()
