"""How long saving in the background blocks a loop: here, in Lightning, in torch, and for a mere copy in memory."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, DiskSaver

COPY, OURS = "copy in memory", "Checkpoint, asynchronous"
# Saves once, waits until nothing is written any more, and returns for how many seconds the caller was blocked.
Blocked = Callable[[], float]


def copying(model: torch.nn.Module) -> Blocked:
    """Return a copy of all tensors into memory that is there already, pinned for a GPU: the floor."""
    tensors = list(model.state_dict().values())
    is_gpu = tensors[0].device.type == "cuda"
    copies = [torch.empty_like(tensor, device="cpu", pin_memory=is_gpu) for tensor in tensors]

    def copy() -> float:
        begun = time.perf_counter()
        for tensor, its_copy in zip(tensors, copies, strict=True):
            its_copy.copy_(tensor, non_blocking=is_gpu)
        if is_gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    return copy


def saving(model: torch.nn.Module, directory: Path) -> Blocked:
    """Return a run that saves after its first iteration: blocked from the end of that to the second one's begin."""
    steps, times = itertools.count(), dict[int, float]()
    latest = Checkpoint(
        {"model": model}, DiskSaver(directory, asynchronous=True), global_step_transform=lambda *_: next(steps)
    )
    engine: Engine[int, None] = Engine(lambda engine, batch: times.update({batch: time.perf_counter()}))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), latest)

    def run() -> float:
        engine.run([1, 2], max_epochs=1)  # at its end it waits
        return times[2] - times[1]

    return run


def saving_with_torch(model: torch.nn.Module, directory: Path) -> Blocked:
    """Return `torch.save`, which blocks until everything is written, though not synced."""

    def save() -> float:
        begun = time.perf_counter()
        torch.save(model.state_dict(), directory / "plain.pt")
        return time.perf_counter() - begun

    return save


def saving_with_dcp(model: torch.nn.Module, directory: Path) -> Blocked:
    """Return `torch.distributed.checkpoint.async_save`."""
    from torch.distributed.checkpoint.state_dict_saver import async_save

    def save() -> float:
        shutil.rmtree(directory / "dcp", ignore_errors=True)
        begun = time.perf_counter()
        answer: Any = async_save({"model": model.state_dict()}, checkpoint_id=directory / "dcp", no_dist=True)
        blocked = time.perf_counter() - begun
        answer.result()
        return blocked

    return save


def saving_with_lightning(model: torch.nn.Module, directory: Path) -> Blocked:
    """Return Lightning's `AsyncCheckpointIO`."""
    from lightning.pytorch.plugins.io import AsyncCheckpointIO, TorchCheckpointIO

    def save() -> float:
        plugin = AsyncCheckpointIO(TorchCheckpointIO())
        begun = time.perf_counter()
        plugin.save_checkpoint({"state_dict": model.state_dict()}, directory / "lightning.ckpt")
        blocked = time.perf_counter() - begun
        plugin.teardown()  # waits
        return blocked

    return save


def blocked_seconds(model: torch.nn.Module, rounds: int) -> dict[str, tuple[float, float]]:
    """Return for each way how long the first save blocked, and the median of the later ones; all of them in turns."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        ways = {
            COPY: copying(model),
            OURS: saving(model, directory / "camshaft"),
            "torch.save": saving_with_torch(model, directory),
            "torch's dcp.async_save": saving_with_dcp(model, directory),
        }
        if importlib.util.find_spec("lightning") is not None:
            ways["Lightning's AsyncCheckpointIO"] = saving_with_lightning(model, directory)
        times: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds + 1):
            for way, save in ways.items():
                times[way].append(save())
    return {way: (each[0], statistics.median(each[1:])) for way, each in times.items()}
