"""What it costs that two processes agree after each iteration when to stop, beside a reduction by hand.

A step of 10 ms, in which the CPU waits as it does for a device, is run by engines that vote, by one that does not, and
by one with a handler that calls `all_reduce` and waits for it, in turns, in both processes at once. Barred is the CPU
time of the thread that trains, as a share of the step and beside that of the line by hand. It does not depend on what
else the machine does. The share depends on how long the machine takes to wake a thread, the ratio does not. Run it with
`hatch run bench:ranks`.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from bars import Figure, report
from torch import distributed

from camshaft.distributed import Process, start
from camshaft.engine import Engine, Events

STEP_S = 0.01
ITERATIONS = 100
ROUNDS = 8


class Times(NamedTuple):
    """What a run takes.

    Attributes:
        cpu: CPU time of the thread that trains, in seconds.
        clock: seconds by the clock.
    """

    cpu: float
    clock: float


def make_engine() -> Engine[Any, Any]:
    """Return an engine with the step."""
    return Engine(lambda engine, batch: time.sleep(STEP_S))


def seconds(engine: Engine[Any, Any], process: Process) -> Times:
    """Return what a run takes; both processes begin together."""
    process.exchange("the begin of a run", None)
    begun, used = time.perf_counter(), time.thread_time()
    engine.run(range(ITERATIONS))
    return Times(time.thread_time() - used, time.perf_counter() - begun)


def measure() -> None:
    """Measure in one of the processes; the first one prints."""
    with start(device="cpu") as process:
        plain, each, tenth, by_hand = (make_engine() for _ in range(4))
        process.agree(each)
        process.agree(tenth, every=10)
        group, flag = distributed.new_group(backend="gloo"), torch.zeros(1, dtype=torch.int64)
        by_hand.add_event_handler(Events.ITERATION_COMPLETED, lambda: distributed.all_reduce(flag, group=group))
        engines = {"plain": plain, "each": each, "tenth": tenth, "by hand": by_hand}
        turns = [measured_in_turn(engines, number, process) for number in range(ROUNDS)]
        if process.rank == 0:
            print(json.dumps(turns))


def measured_in_turn(engines: dict[str, Engine[Any, Any]], number: int, process: Process) -> dict[str, Times]:
    """Return what a run of each engine takes, each turn beginning with another one: the machine drifts."""
    names = list(engines)
    first = number % len(names)
    return {name: seconds(engines[name], process) for name in names[first:] + names[:first]}


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def figures() -> Iterator[Figure]:
    """Start both processes and yield what they have measured."""
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    command = [sys.executable, str(Path(__file__)), "measure"]
    environments = [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    started = [subprocess.Popen(command, env=each, stdout=subprocess.PIPE, text=True) for each in environments]
    printed, _ = [each.communicate()[0] for each in started]
    turns = [{name: Times(*times) for name, times in turn.items()} for turn in json.loads(printed)]

    def median(of_turn: Callable[[dict[str, Times]], float]) -> float:
        return statistics.median(map(of_turn, turns))

    def share(name: str) -> float:
        """Return the CPU time that a step takes in addition, as a share of it."""
        return median(lambda turn: (turn[name].cpu - turn["plain"].cpu) / (ITERATIONS * STEP_S))

    def by_clock(name: str) -> float:
        return median(lambda turn: turn[name].clock / turn["plain"].clock)

    by_hand = share("by hand")
    yield Figure("CPU time: a vote after each iteration / a reduction by hand", share("each") / by_hand, at_most=1.2)
    yield Figure("CPU time: a vote after each tenth / a reduction by hand", share("tenth") / by_hand, at_most=0.25)
    yield Figure("CPU time of a vote after each iteration / 10 ms step", 100 * share("each"), "%", at_most=2)
    yield Figure("CPU time of a vote after each tenth iteration / 10 ms step", 100 * share("tenth"), "%", at_most=2)
    yield Figure("a vote after each iteration / none, by the clock", by_clock("each"))
    yield Figure("a vote after each tenth iteration / none, by the clock", by_clock("tenth"))
    yield Figure("a reduction that is waited for / none, by the clock", by_clock("by hand"))


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(report(figures()))
    measure()
