"""What it costs that two processes agree after each iteration when to stop, beside a reduction that is waited for.

A step of 10 ms, in which the CPU waits as it does for a device, is run by engines that vote and by one that does not,
in turns, in both processes at once. Barred is the CPU time of the thread that trains, as a share of the step: it does
not depend on what else the machine does. Machines differ in what a reduction takes at all, so a vote is compared with
one by hand too. Run it with `hatch run bench:ranks`.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from bars import Figure, report
from torch import distributed

from camshaft.distributed import Process, start
from camshaft.engine import Engine, Events

STEP_S = 0.01
ITERATIONS = 100
ROUNDS = 5
BAR = 0.02


def make_engine() -> Engine[Any, Any]:
    """Return an engine with the step."""
    return Engine(lambda engine, batch: time.sleep(STEP_S))


def seconds(engine: Engine[Any, Any], process: Process) -> tuple[float, float]:
    """Return what a run takes, in CPU time of this thread and by the clock; both processes begin together."""
    process.exchange("the begin of a run", None)
    begun, used = time.perf_counter(), time.thread_time()
    engine.run(range(ITERATIONS))
    return time.thread_time() - used, time.perf_counter() - begun


def measure() -> None:
    """Measure in one of the processes; the first one prints."""
    with start(device="cpu") as process:
        plain, each, tenth, by_hand = (make_engine() for _ in range(4))
        process.agree(each)
        process.agree(tenth, every=10)
        group, flag = distributed.new_group(backend="gloo"), torch.zeros(1, dtype=torch.int64)
        by_hand.add_event_handler(Events.ITERATION_COMPLETED, lambda: distributed.all_reduce(flag, group=group))
        engines = {"each": each, "tenth": tenth, "by hand": by_hand}
        shares: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
        for _ in range(ROUNDS):
            for name, engine in engines.items():
                floor_cpu, floor = seconds(plain, process)
                cpu, clock = seconds(engine, process)
                shares[name].append(((cpu - floor_cpu) / (ITERATIONS * STEP_S), clock / floor))
        if process.rank == 0:
            medians = {name: [*map(statistics.median, zip(*each, strict=True))] for name, each in shares.items()}
            print(json.dumps(medians))


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
    medians = json.loads(printed)
    for name, what in (("each", "a vote after each iteration"), ("tenth", "a vote after each tenth iteration")):
        cpu, clock = medians[name]
        yield Figure(f"CPU time of {what} / 10 ms step", 100 * cpu, "%", at_most=100 * BAR)
        yield Figure(f"{what} / none, by the clock", clock)
    cpu_by_hand, clock_by_hand = medians["by hand"]
    yield Figure("a reduction that is waited for / none, by the clock", clock_by_hand)
    yield Figure("CPU time of a vote / of a reduction that is waited for", medians["each"][0] / cpu_by_hand)


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(report(figures()))
    measure()
