"""What the loop costs: against a bare loop, against the same handlers called by hand, against the reference.

Every figure is a ratio of two things measured in one process, in turns; the median of several rounds is shown, in
CPU time of the thread, so that other processes disturb little. Run it with `hatch run bench:loop`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from bars import Figure, report

import camshaft.engine
from camshaft.engine import Engine, Events

Thunk = Callable[[], object]
PER_ITERATION = ("GET_BATCH_STARTED", "GET_BATCH_COMPLETED", "ITERATION_STARTED", "ITERATION_COMPLETED")


def medians(cases: dict[str, Thunk], rounds: int) -> dict[str, float]:
    """Return the median seconds of each case, all of them measured in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:  # nothing always follows the same
            run = cases[name]
            run()  # what ran before has left the processor's caches full of its own
            start = time.thread_time()
            run()
            seconds[name].append(time.thread_time() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


# ---------------------------------------------------------------------- what is compared


class Hand:
    """What a hand-written loop keeps."""

    iteration: int
    batch: Any
    output: Any


def step(engine: Any, batch: Any) -> Any:
    """Stand for a training step that costs nothing."""
    return batch


def handler(engine: Any) -> None:
    """Stand for a handler that costs nothing."""


def loop_bare(data: list[int]) -> None:
    """Store iteration, batch and output, and no more."""
    state, iteration = Hand(), 0
    for batch in data:
        iteration += 1  # noqa: SIM113  # counted by hand, as engines and most loops do
        state.iteration = iteration
        state.batch = batch
        state.output = step(state, batch)


def loop_with_one(data: list[int]) -> None:
    """Call one handler in each iteration."""
    state, iteration = Hand(), 0
    for batch in data:
        iteration += 1  # noqa: SIM113  # counted by hand, as engines and most loops do
        state.iteration = iteration
        state.batch = batch
        state.output = step(state, batch)
        handler(state)


def loop_with_four(data: list[int]) -> None:
    """Call a handler at each of the four places of an iteration."""
    state, iteration = Hand(), 0
    for batch in data:
        handler(state)
        state.batch = batch
        handler(state)
        iteration += 1  # noqa: SIM113  # counted by hand, as engines and most loops do
        state.iteration = iteration
        handler(state)
        state.output = step(state, batch)
        handler(state)


def loop_with_ten(data: list[int]) -> None:  # noqa: C901, PLR0912  # each handler has its own condition
    """Call ten handlers every 100 iterations, and those that `attach_ten` attaches besides."""
    state, iteration = Hand(), 0
    for batch in data:
        iteration += 1  # noqa: SIM113  # counted by hand, as engines and most loops do
        state.iteration = iteration
        state.batch = batch
        state.output = step(state, batch)
        if not iteration % 100:
            handler(state)
        if not iteration % 100:
            handler(state)
        if not iteration % 100:
            handler(state)
        if not iteration % 100:
            handler(state)
        if not iteration % 100:
            handler(state)
        if not iteration % 100:
            handler(state)
        if not iteration % 100:
            handler(state)
        if not iteration % 100:
            handler(state)
        if not iteration % 100:
            handler(state)
        if not iteration % 100:
            handler(state)
        if iteration == 50:
            handler(state)
        if 450 < iteration < 500:
            handler(state)
    handler(state)
    handler(state)


def loop_with_three(data: list[int]) -> None:
    """Call three handlers whose periods seldom coincide."""
    state, iteration = Hand(), 0
    for batch in data:
        iteration += 1  # noqa: SIM113  # counted by hand, as engines and most loops do
        state.iteration = iteration
        state.batch = batch
        state.output = step(state, batch)
        if not iteration % 100:
            handler(state)
        if not iteration % 101:
            handler(state)
        if not iteration % 102:
            handler(state)


def attach_three(engine: Any) -> None:
    """Attach three handlers whose periods seldom coincide."""
    for period in (100, 101, 102):
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=period), handler)


def attach_ten(engine: Any, events: Any) -> None:
    """Attach ten `every=100` handlers, one `once`, one `before`/`after`, EPOCH and COMPLETED handlers."""
    for _ in range(10):
        engine.add_event_handler(events.ITERATION_COMPLETED(every=100), lambda engine: None)
    engine.add_event_handler(events.ITERATION_COMPLETED(once=50), handler)
    engine.add_event_handler(events.ITERATION_COMPLETED(before=500, after=450), handler)
    engine.add_event_handler(events.EPOCH_COMPLETED, handler)
    engine.add_event_handler(events.COMPLETED, handler)


def attach_not_due(engine: Any, count: int) -> None:
    """Attach scheduled handlers that are never due."""
    for number in range(count):
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=10**9 + number), handler)


def attach_at(engine: Any, *names: str) -> None:
    """Attach a plain handler to each of the named events."""
    for name in names:
        engine.add_event_handler(Events[name], handler)


def running(data: Any, attach: Callable[[Any], None] = lambda engine: None) -> Thunk:
    """Return a run of an engine with some handlers."""
    engine: Engine[Any, Any] = Engine(step)
    attach(engine)
    return lambda: engine.run(data)


# ---------------------------------------------------------------------- the figures


def figures_of_the_loop(iterations: int, rounds: int) -> list[Figure]:
    """Compare with the bare loop and with handlers called by hand."""
    data = list(range(iterations))
    seconds = medians(
        {
            "bare": lambda: loop_bare(data),
            "hand one": lambda: loop_with_one(data),
            "hand four": lambda: loop_with_four(data),
            "hand ten": lambda: loop_with_ten(data),
            "none": running(data),
            **{f"{count} not due": running(data, partial(attach_not_due, count=count)) for count in (1, 10, 100)},
            "ten": running(data, lambda engine: attach_ten(engine, Events)),
            "one": running(data, lambda engine: attach_at(engine, "ITERATION_COMPLETED")),
            "four": running(data, lambda engine: attach_at(engine, *PER_ITERATION)),
            "three": running(data, attach_three),
            "hand three": lambda: loop_with_three(data),
        },
        rounds,
    )
    bare = seconds["bare"]
    print(f"ns per iteration: bare loop {bare / iterations * 1e9:.1f}, engine {seconds['none'] / iterations * 1e9:.1f}")
    return [
        Figure("no handlers / bare loop", seconds["none"] / bare, at_most=1.6),
        Figure("100 handlers not due / bare loop", seconds["100 not due"] / bare, at_most=1.7),
        Figure("1 handler not due / no handlers", seconds["1 not due"] / seconds["none"], at_most=1.1),
        Figure("10 handlers not due / no handlers", seconds["10 not due"] / seconds["none"], at_most=1.1),
        Figure("100 handlers not due / no handlers", seconds["100 not due"] / seconds["none"], at_most=1.1),
        Figure("ten every=100, once, before/after, ... / bare loop", seconds["ten"] / bare, at_most=2.0),
        Figure("ten every=100, once, before/after, ... / by hand", seconds["ten"] / seconds["hand ten"], at_most=1.2),
        Figure("every=100, 101, 102 / by hand", seconds["three"] / seconds["hand three"], at_most=1.2),
        Figure("every=100, 101, 102 / bare loop", seconds["three"] / bare, at_most=2.2),
        Figure("one ITERATION_COMPLETED handler / by hand", seconds["one"] / seconds["hand one"], at_most=3.0),
        Figure("a handler on all four iteration events / by hand", seconds["four"] / seconds["hand four"], at_most=3.0),
    ]


def figures_of_firing(calls: int, rounds: int) -> list[Figure]:
    """Compare `fire_event` of a custom event that has one handler with calling the handler."""
    engine: Engine[Any, Any] = Engine(step)
    engine.register_events("custom")
    engine.add_event_handler("custom", handler)

    def fire() -> None:
        for _ in range(calls):
            engine.fire_event("custom")

    def call() -> None:
        for _ in range(calls):
            handler(engine)

    seconds = medians({"fire": fire, "call": call}, rounds)
    return [Figure("fire_event, one handler / plain function call", seconds["fire"] / seconds["call"], at_most=8.0)]


def figures_of_attaching(rounds: int) -> list[Figure]:
    """Show that attaching costs the same however many handlers there are."""

    def attach(engine: Engine[Any, Any]) -> None:
        for _ in range(100):
            engine.add_event_handler(Events.ITERATION_COMPLETED, handler)

    few: Engine[Any, Any] = Engine(step)
    many: Engine[Any, Any] = Engine(step)
    for _ in range(50):
        attach(many)
    seconds = medians({"few": lambda: attach(few), "many": lambda: attach(many)}, rounds)
    return [Figure("attaching to 5,000 handlers / to none", seconds["many"] / seconds["few"], at_most=1.5)]


def figures_of_length(rounds: int) -> list[Figure]:
    """Show that an iteration costs the same in short runs and in long ones."""
    lengths = (10**4, 10**5, 10**6, 10**7)
    cost = {
        length: medians({"run": running(range(length))}, max(1, min(rounds, 10**7 // length)))["run"] / length
        for length in lengths
    }
    return [Figure("iteration in a run of 10^7 / in one of 10^4", cost[10**7] / cost[10**4], at_most=1.2)]


def figures_of_memory() -> list[Figure]:
    """Count the memory blocks that runs leave behind."""

    def left_by(run: Thunk, times: int) -> int:
        for _ in range(2000 if times > 1 else 1):  # the interpreter keeps a bounded number of freed blocks
            run()
        before = sys.getallocatedblocks()
        for _ in range(times):
            run()
        return sys.getallocatedblocks() - before

    failing = running([1, 0], lambda engine: engine.add_event_handler(Events.ITERATION_STARTED, fail_at_second))

    def run_failing() -> None:
        with suppress(ZeroDivisionError):
            failing()

    return [
        Figure("memory blocks left by 10^7 iterations", left_by(running(range(10**7)), 1), "", at_most=50),
        Figure("memory blocks left by 1,000 runs", left_by(running([1, 2, 3]), 1000), "", at_most=50),
        Figure("memory blocks left by 1,000 failing runs", left_by(run_failing, 1000), "", at_most=50),
    ]


def fail_at_second(engine: Any) -> None:
    """Raise in the second iteration."""
    1 // engine.state.batch


def figures_of_import(rounds: int) -> list[Figure]:
    """Compare whole processes, with and without the import."""

    def start(code: str) -> float:
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        return time.perf_counter() - begin

    with tempfile.TemporaryDirectory() as folder_of_bytecode:
        # Compiled once, as an installed package is.
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": folder_of_bytecode}
        start("import camshaft.engine")
        pairs = [(start("pass"), start("import camshaft.engine")) for _ in range(max(15, rounds))]
    # The smallest, not the median: a process is never faster than undisturbed.
    plain, importing = (min(values) for values in zip(*pairs, strict=True))
    archive = io.BytesIO()
    folder = Path(camshaft.engine.__file__).parent
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for source in sorted(folder.glob("*.py")):
            zipped.write(source, source.name)
    return [
        Figure("import camshaft.engine, above the interpreter's start", (importing - plain) * 1e3, "ms", at_most=30),
        Figure("sources, zipped as in a wheel", len(archive.getvalue()) / 1000, "kB", at_most=80),
    ]


def figures_of_the_reference(iterations: int, rounds: int) -> list[Figure]:
    """Compare with the reference, where it is installed."""
    if importlib.util.find_spec("ignite") is None:
        print("the reference is not installed: no figures against it")
        return []
    reference = importlib.import_module("ignite.engine")
    data = list(range(iterations))

    def running_there(attach: bool) -> Thunk:
        engine = reference.Engine(step)
        if attach:
            attach_ten(engine, reference.Events)
        return lambda: engine.run(data)

    seconds = medians(
        {
            "none": running(data), "ten": running(data, lambda engine: attach_ten(engine, Events)),
            "reference none": running_there(attach=False), "reference ten": running_there(attach=True),
        },
        rounds,
    )  # fmt: skip
    return [
        Figure("reference / this, no handlers", seconds["reference none"] / seconds["none"], at_least=50),
        Figure("reference / this, ten handlers", seconds["reference ten"] / seconds["ten"], at_least=150),
    ]


def figures(iterations: int, rounds: int) -> Iterator[Figure]:
    """Yield every figure as it is measured."""
    yield from figures_of_the_loop(iterations, rounds)
    yield from figures_of_firing(iterations, rounds)
    yield from figures_of_attaching(rounds)
    yield from figures_of_the_reference(iterations, max(3, rounds // 5))
    yield from figures_of_length(rounds)
    yield from figures_of_memory()
    yield from figures_of_import(rounds)


def main() -> None:
    """Measure and print; fail if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=50_000, help="iterations of a run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=45, help="rounds of which the median is shown")
    options = parser.parse_args()
    sys.exit(report(figures(options.iterations, options.rounds)))


if __name__ == "__main__":
    main()
