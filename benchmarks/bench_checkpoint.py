"""What is left of a run that is killed while saving, and what does a safe save cost?

First a process that does nothing but save, with n_saved=1, is killed at a random moment, again and
again; each time the directory must hold a checkpoint that loads and verifies. Then saving is timed
in turns with its floor: writing the same bytes raw and syncing them, or one core's checksum
over them, whichever takes longer. The reference is asked the same where it is installed. At last the
first save of many small tensors, which also finds out whether the file will load safely, is timed in
turns with `torch.save` of the same. And a loop that saves in the background is timed: how long it is blocked, in turns
with a copy in memory, which is the floor, and with what Lightning and torch have for it.

With `--device cuda` the model that is saved, and restored into, is on the GPU.

Run: hatch run bench:checkpoint [--kills N] [--megabytes N] [--rounds N] [--tensors N]
     hatch run bench:checkpoint --device cuda --only blocked saving
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from bars import Figure, report
from blocked_loop import COPY, OURS, blocked_seconds

from camshaft.handlers import NoCheckpointError, restore_latest, verify_checkpoint

Way = Callable[[], object]
RAW, CRC, SAFE, VERIFY = "raw write and fsync", "crc32 on one core", "Checkpoint", "verify_checkpoint"
PLAIN, RESTORE, PLAIN_LOAD = "torch.save, not synced", "restore_latest", "torch.load and load_state_dict"
KINDS = ("blocked", "kills", "saving", "first")

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


def has_reference() -> bool:
    """Return whether the reference itself is installed: `ignite` may also be our own package for its scripts."""
    try:
        importlib.metadata.distribution("pytorch-ignite")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


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
    """Return whether a checkpoint of the directory loads, verified where that is possible."""
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


def seconds(action: Way) -> float:
    """Return how long an action takes, until a GPU is done with it too."""
    begun = time.perf_counter()
    action()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # torch leaves it untyped
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def make_model(megabytes: int) -> torch.nn.ParameterList:
    """Return parameters of 4 MiB each."""
    return torch.nn.ParameterList([torch.randn(1 << 20) for _ in range(max(1, megabytes // 4))])


def saving_with(
    engine_module: str, handlers_module: str, to_save: dict[str, Any], directory: Path, **options: Any
) -> Way:
    """Return a save with n_saved=1, of this library or of the reference."""
    engine = importlib.import_module(engine_module).Engine(lambda engine, batch: None)
    handlers = importlib.import_module(handlers_module)
    handler = handlers.Checkpoint(to_save, handlers.DiskSaver(directory, **options), n_saved=1)

    def save() -> None:
        engine.state.iteration += 1
        handler(engine)

    return save


def saving_plainly(model: torch.nn.Module, path: Path) -> Way:
    """Return a save with `torch.save` alone."""
    return lambda: torch.save(model.state_dict(), path)


def restoring(model: torch.nn.Module, directory: Path) -> dict[str, Way]:
    """Return the ways to load what is newest in the directory into a model: verified, and as torch loads it."""

    def load_plain() -> None:
        file = next((directory / "safe").iterdir())
        model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))

    return {RESTORE: lambda: restore_latest(directory / "safe", {"model": model}), PLAIN_LOAD: load_plain}


def ways_to_save(megabytes: int, device: str, directory: Path) -> dict[str, Way]:
    """Return the floors, and every way to save, verify and restore what is as large."""
    model = make_model(megabytes).to(device)
    data = memoryview(torch.cat([parameter.detach() for parameter in model]).cpu().numpy().tobytes())
    to_save = {"model": model}
    ways: dict[str, Way] = {
        RAW: lambda: write_raw(directory / "raw", data),
        CRC: lambda: zlib.crc32(data),
        SAFE: saving_with("camshaft.engine", "camshaft.handlers", to_save, directory / "safe"),
        "Checkpoint, durable=False": saving_with(
            "camshaft.engine", "camshaft.handlers", to_save, directory / "quick", durable=False
        ),
        VERIFY: lambda: verify_checkpoint(next((directory / "safe").iterdir())),
        PLAIN: saving_plainly(model, directory / "plain.pt"),
        **restoring(model, directory),
    }
    if has_reference():
        ways["reference, not synced"] = saving_with(
            "ignite.engine", "ignite.handlers", to_save, directory / "reference"
        )
    return ways


def time_saving(megabytes: int, rounds: int, device: str) -> dict[str, float]:
    """Return the median seconds of each way, all of them in turns."""
    with tempfile.TemporaryDirectory() as name:
        ways = ways_to_save(megabytes, device, Path(name))
        for way in ways.values():
            way()
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                times[name].append(seconds(way))
        return {name: statistics.median(each) for name, each in times.items()}


def saving_figures(megabytes: int, rounds: int, device: str) -> Iterator[Figure]:
    """Time every way to save and restore so many bytes, and compare with the floor and with torch's own."""
    times = time_saving(megabytes, rounds, device)
    floor, gibibytes = max(times[RAW], times[CRC]), megabytes / 1024
    what = f"{megabytes} MiB" if device == "cpu" else f"{megabytes} MiB on {device}"
    for name, median in times.items():
        if name not in (RESTORE, PLAIN_LOAD):
            # From a GPU everything is copied to the machine's memory first, which is no part of the floor.
            at_most = {SAFE: 1.15}.get(name) if device == "cpu" else None
            yield Figure(f"{name}, {what} / the slower of write and crc32", median / floor, at_most=at_most)
        yield Figure(f"{name}, {what}, per GiB", median / gibibytes, "s")
    yield Figure(f"{VERIFY} / {CRC}", times[VERIFY] / times[CRC], at_most=1.5)
    yield Figure(f"{SAFE} / {PLAIN}, {what}", times[SAFE] / times[PLAIN])
    yield Figure(f"{RESTORE} / {PLAIN_LOAD}, {what}", times[RESTORE] / times[PLAIN_LOAD])


def first_save_ratio(tensors: int, rounds: int) -> float:
    """Return the median ratio of a first save of small tensors to plain `torch.save`; each goes first in turn."""
    to_save = {"model": torch.nn.ParameterList([torch.randn(4) for _ in range(tensors)])}
    ratios = []
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            first = saving_with("camshaft.engine", "camshaft.handlers", to_save, folder / "first")
            plain = saving_plainly(to_save["model"], folder / "plain.pt")
            taken = {save: seconds(save) for save in ((first, plain) if number % 2 else (plain, first))}
            ratios.append(taken[first] / taken[plain])
    return statistics.median(ratios)


def blocked_figures(megabytes: int, rounds: int, device: str) -> Iterator[Figure]:
    """Time how long each way of saving in the background blocks a loop, and compare with a copy in memory.

    A copy from a GPU into pinned memory is so fast that some milliseconds of Python beside it tell little: there the
    time itself has a bar.
    """
    model, gibibytes = make_model(megabytes).to(device), megabytes / 1024
    times = blocked_seconds(model, rounds)
    floor = times[COPY][1]
    of_ratio, of_seconds = ({OURS: 1.3}, dict[str, float]()) if device == "cpu" else (dict[str, float](), {OURS: 0.1})
    for name, (first, median) in times.items():
        what = f"loop blocked, {name} / {COPY}, {megabytes} MiB on {device}"
        yield Figure(what, median / floor, at_most=of_ratio.get(name))
        yield Figure(f"loop blocked, {name}, per GiB", median / gibibytes, "s", at_most=of_seconds.get(name))
        yield Figure(f"loop blocked by the first save, {name}, per GiB", first / gibibytes, "s")


def kill_figures(kills: int) -> Iterator[Figure]:
    """Kill savers, and count what is lost."""
    losses = count_losses(kills, "camshaft.engine", "camshaft.handlers")
    yield Figure(f"lost with n_saved=1, of {kills} kills while saving", losses, "runs", at_most=0)
    lost_elsewhere = count_losses(kills, "ignite.engine", "ignite.handlers") if has_reference() else None
    yield Figure("the same, reference", lost_elsewhere, "runs")


def first_figures(tensors: int) -> Iterator[Figure]:
    """Compare the first save of many small tensors with torch's own."""
    yield Figure(f"first save of {tensors:,} small tensors / torch.save", first_save_ratio(tensors, 8), at_most=1.3)


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """Yield what is lost, and what saving costs."""
    size = options.megabytes, options.rounds, options.device
    kinds: dict[str, Callable[[], Iterator[Figure]]] = {
        "blocked": lambda: blocked_figures(*size),
        "kills": lambda: kill_figures(options.kills),
        "saving": lambda: saving_figures(*size),
        "first": lambda: first_figures(options.tensors),
    }
    for kind in options.only:
        yield from kinds[kind]()


def main() -> str | None:
    """Print all figures; return what is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tensors", type=int, default=100_000)
    parser.add_argument("--device", default="cpu", help="where the model is")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="measure nothing else")
    return report(figures(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
