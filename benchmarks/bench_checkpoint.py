"""What is left of a run that is killed while saving, and what does a safe save cost?

First a process that does nothing but save, with n_saved=1, is killed at a random moment, again and
again; each time the directory must hold a checkpoint that loads and verifies. Then saving is timed
in turns with its floor: writing the same bytes raw and syncing them, or one core's checksum
over them, whichever takes longer. The reference is asked the same where it is installed.

Run: hatch run bench:checkpoint [kills] [megabytes]
"""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import torch

from camshaft.engine import Engine
from camshaft.handlers import Checkpoint, NoCheckpointError, restore_latest, verify_checkpoint

SAVER = """
import sys, torch
from {engine} import Engine
from {handlers} import Checkpoint, DiskSaver
model = torch.nn.Linear(700, 700)
engine = Engine(lambda engine, batch: None)
handler = Checkpoint({{"model": model}}, DiskSaver(sys.argv[1], require_empty=False), n_saved=1)
for engine.state.iteration in range(1, 1_000_000):
    handler(engine)
    print(engine.state.iteration, flush=True)
"""


def kill_while_saving(directory: Path, program: str, moments: random.Random) -> None:
    """Let a process save into a directory, and kill it at a random moment after its first save."""
    command = [sys.executable, "-c", program, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moments.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)


def count_losses(kills: int, engine: str, handlers: str) -> int:
    """Return after how many of the kills no checkpoint could be loaded."""
    moments, losses = random.Random(0), 0
    program = SAVER.format(engine=engine, handlers=handlers)
    for _ in range(kills):
        with tempfile.TemporaryDirectory() as name:
            kill_while_saving(Path(name), program, moments)
            losses += not holds_checkpoint(Path(name))
    return losses


def holds_checkpoint(directory: Path) -> bool:
    """Tell whether a checkpoint of the directory loads, verified where that is possible."""
    try:
        restore_latest(directory, {"model": torch.nn.Linear(700, 700)})
    except NoCheckpointError:
        return False
    return True


def write_raw(path: Path, data: memoryview) -> None:
    """Write and sync bytes: the floor of any durable save."""
    with path.open("wb") as file:
        file.write(data)
        os.fsync(file.fileno())


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def time_saving(megabytes: int, rounds: int = 7) -> dict[str, float]:
    """Return the median seconds of each way, all of them in turns."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        model = torch.nn.ParameterList([torch.randn(1 << 20) for _ in range(max(1, megabytes // 4))])
        data = memoryview(torch.cat([parameter.detach() for parameter in model]).numpy().tobytes())
        engine: Engine[None, None] = Engine(lambda engine, batch: None)
        handler = Checkpoint({"model": model}, directory / "safe")

        def save() -> None:
            engine.state.iteration += 1
            handler(engine)

        ways: dict[str, Callable[[], object]] = {
            "raw write and fsync": lambda: write_raw(directory / "raw", data),
            "crc32 on one core": lambda: zlib.crc32(data),
            "torch.save, not synced": lambda: torch.save(model.state_dict(), directory / "plain.pt"),
            "Checkpoint": save,
            "verify": lambda: verify_checkpoint(str(handler.last_checkpoint)),
        }
        for way in ways.values():
            way()
        return {
            name: statistics.median(times)
            for name, times in zip(
                ways, zip(*([seconds(way) for way in ways.values()] for _ in range(rounds)), strict=True), strict=True
            )
        }


def main() -> None:
    """Print both tables."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    megabytes = int(sys.argv[2]) if len(sys.argv) > 2 else 256
    print(f"SIGKILL while saving with n_saved=1: runs without a loadable checkpoint, of {kills}")
    print(f"  camshaft   {count_losses(kills, 'camshaft.engine', 'camshaft.handlers')}")
    if importlib.util.find_spec("ignite") is not None:
        print(f"  reference  {count_losses(kills, 'ignite.engine', 'ignite.handlers')}")
    times = time_saving(megabytes)
    floor = max(times["raw write and fsync"], times["crc32 on one core"])
    print(f"{megabytes} MiB, median seconds, and the ratio to the floor (the slower of the first two)")
    for name, median in times.items():
        print(f"  {name:<24}{median:>8.3f}{median / floor:>8.2f} x")


if __name__ == "__main__":
    main()
