"""How long a sharded save blocks the run, written at once and in the background, beside a copy in memory.

Two processes have half of a model each. A run saves with each of two savers in turns, and is over when the save is.
Blocked is the time from the safe point to the next batch, in the process that is blocked longest. Run it with
`hatch run bench:shards`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from bars import Figure, report
from bench_ranks import free_port
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from camshaft.distributed import start
from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, ShardedSaver

SIZE = 1 << 26  # numbers of 4 bytes: 128 MiB in each process
ROUNDS = 5
AT_MOST = 0.5  # of what it blocks when it is written at once


class Model:
    """A state with one large tensor, which is spread over the processes."""

    def __init__(self, size: int) -> None:
        mesh = init_device_mesh("cpu", (size,))
        self.weight = distribute_tensor(torch.rand(SIZE), mesh, [Shard(0)])

    def state_dict(self) -> dict[str, Any]:
        """Return the tensor."""
        return {"weight": self.weight}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a tensor."""
        self.weight = state["weight"]


def blocked_s(saver: ShardedSaver, model: Model) -> float:
    """Return how long one save blocks a run of two iterations, which then waits until it is written."""
    times: list[float] = []
    trainer: Engine[Any, Any] = Engine(lambda engine, batch: None)
    latest = Checkpoint({"model": model}, saver, n_saved=1)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), latest)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda: times.append(time.perf_counter()))
    trainer.add_event_handler(Events.GET_BATCH_STARTED, lambda: times.append(time.perf_counter()))
    trainer.run([1, 2])
    _, begun, ended, *_ = times
    return ended - begun


def measure(folder: Path) -> None:
    """Measure in one of the processes; the first one prints."""
    with start(device="cpu") as process:
        model = Model(process.size)
        local = model.weight.to_local()
        room = torch.empty_like(local)
        savers = {
            way: ShardedSaver(folder / way, asynchronous=way == "background") for way in ("at once", "background")
        }
        found: dict[str, list[float]] = {way: [] for way in (*savers, "copy")}
        for number in range(ROUNDS + 1):
            longest = {}
            for way, saver in savers.items():
                longest[way] = max(process.exchange("how long", blocked_s(saver, model)))
            begun = time.perf_counter()
            room.copy_(local)
            longest["copy"] = max(process.exchange("how long", time.perf_counter() - begun))
            if number:  # the first save finds memory
                for way, seconds in longest.items():
                    found[way].append(seconds)
        if process.rank == 0:
            print(json.dumps({way: statistics.median(seconds) for way, seconds in found.items()}))


def figures() -> Iterator[Figure]:
    """Start both processes and yield what they have measured."""
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    environments = [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(Path(__file__)), folder]
        started = [subprocess.Popen(command, env=each, stdout=subprocess.PIPE, text=True) for each in environments]
        printed, _ = [each.communicate()[0] for each in started]
    medians = json.loads(printed)
    gib = SIZE * 4 / 2 / (1 << 30)  # of one process
    yield Figure("a sharded save, written at once, blocks", medians["at once"] / gib, "s/GiB")
    yield Figure("a sharded save in the background blocks", medians["background"] / gib, "s/GiB")
    yield Figure("in the background / at once", medians["background"] / medians["at once"], at_most=AT_MOST)
    yield Figure("in the background / a copy in memory", medians["background"] / medians["copy"])


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit(report(figures()))
    measure(Path(sys.argv[1]))
