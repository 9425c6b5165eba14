"""Checkpoints of what is on a GPU: loaded where there is none, and back; sound when written in the background."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from gpu_training import (
    DEVICE,
    FLOAT16,
    assert_same,
    make_batches,
    make_model,
    make_optimizer,
    make_trainer,
    needs_gpu,
    values,
)

from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, DiskSaver, restore_latest, verify_checkpoint

pytestmark = needs_gpu

Parts = dict[str, Any]


def trained_parts(**optimizer_options: Any) -> Parts:
    """Return a trainer with its model and optimizer after some iterations in float16."""
    model = make_model()
    optimizer = make_optimizer(model, **optimizer_options)
    trainer = make_trainer(model, optimizer, **FLOAT16)
    trainer.run(make_batches())
    return {"trainer": trainer, "model": model, "optimizer": optimizer}


def new_parts(**optimizer_options: Any) -> Parts:
    """Return the same parts, not trained, of other numbers."""
    model = make_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    optimizer = make_optimizer(model, **optimizer_options)
    return {"trainer": make_trainer(model, optimizer, **FLOAT16), "model": model, "optimizer": optimizer}


def save(parts: Parts, folder: Path, **options: Any) -> Path:
    """Save parts once; return the file."""
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    saver = DiskSaver(folder, durable=False, **options)
    engine.add_event_handler(Events.COMPLETED, Checkpoint(parts, saver))
    engine.run([0])
    (file,) = folder.glob("*.pt")
    return file


WAYS = pytest.mark.parametrize("asynchronous", [False, True], ids=["at once", "in the background"])
# Their numbers of steps are kept on the CPU, on the GPU, and on the GPU.
OPTIONS = [{}, {"fused": True}, {"capturable": True}][: 3 if DEVICE == "cuda" else 2]
OPTIMIZERS = pytest.mark.parametrize("options", OPTIONS, ids=str)


@WAYS
@OPTIMIZERS
def test_what_was_saved_on_a_gpu_is_restored_on_it(options: dict[str, Any], asynchronous: bool, tmp_path: Path) -> None:
    parts = trained_parts(**options)
    save(parts, tmp_path, asynchronous=asynchronous)
    restored = new_parts(**options)
    restore_latest(tmp_path, restored)
    assert_same([values(part) for part in parts.values()], [values(part) for part in restored.values()])
    assert all(parameter.device.type == DEVICE for parameter in restored["model"].parameters())


@OPTIMIZERS
def test_a_restored_optimizer_takes_the_next_step_alike(options: dict[str, Any], tmp_path: Path) -> None:
    parts = trained_parts(**options)
    save(parts, tmp_path)
    restored = new_parts(**options)
    restore_latest(tmp_path, restored)
    for each in (parts, restored):
        for number, parameter in enumerate(each["model"].parameters()):
            parameter.grad = torch.full_like(parameter, 0.1 * number)
        each["optimizer"].step()
    assert_same(values(parts["model"]), values(restored["model"]))


@WAYS
def test_a_checkpoint_of_gpu_state_is_sound(asynchronous: bool, tmp_path: Path) -> None:
    verify_checkpoint(save(trained_parts(), tmp_path, asynchronous=asynchronous))


WITHOUT_GPU = """
import sys
import torch
from camshaft.handlers import Checkpoint, DiskSaver, restore_latest
from camshaft.engine import Engine, Events

assert not torch.cuda.is_available()
model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
parts = {"model": model, "optimizer": optimizer}
restore_latest(sys.argv[1], parts)
with torch.no_grad():
    for parameter in model.parameters():
        parameter.mul_(2)
engine = Engine(lambda engine, batch: None)
engine.add_event_handler(Events.COMPLETED, Checkpoint(parts, DiskSaver(sys.argv[2], durable=False)))
engine.run([0])
"""


@WAYS
def test_a_checkpoint_goes_to_a_machine_without_a_gpu_and_back(asynchronous: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model(torch.ones(3, 4, device=DEVICE)).sum().backward()
    optimizer.step()
    parts = {"model": model, "optimizer": optimizer}
    save(parts, tmp_path / "gpu", asynchronous=asynchronous)
    expected = [{name: 2 * value for name, value in values(model).items()}, values(optimizer)]

    # A fresh process: one that torch was imported in may have counted the GPUs already.
    command = [sys.executable, "-c", WITHOUT_GPU, str(tmp_path / "gpu"), str(tmp_path / "cpu")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    restore_latest(tmp_path / "cpu", parts)
    assert_same(expected, [values(model), values(optimizer)])
    assert all(state["exp_avg"].device.type == DEVICE for state in optimizer.state.values())


def test_a_file_written_in_the_background_is_what_the_gpu_held_when_it_was_asked_for(tmp_path: Path) -> None:
    weight = torch.nn.ParameterList([torch.zeros(1 << 22) for _ in range(4)]).to(DEVICE)  # 64 MiB
    expected: dict[int, float] = {}

    def step(engine: Engine[Any, Any], batch: Any) -> None:
        with torch.no_grad():
            for _ in range(50):  # many kernels are still to be run when the checkpoint is asked for
                for each in weight:
                    each.add_(1.0)

    engine: Engine[Any, Any] = Engine(step)
    checkpoint = Checkpoint({"weight": weight}, DiskSaver(tmp_path, asynchronous=True, durable=False), n_saved=None)
    engine.add_event_handler(Events.ITERATION_COMPLETED, checkpoint)
    engine.run(range(6))

    for file in tmp_path.glob("*.pt"):
        number = int(file.stem.rpartition("_")[2])
        saved = torch.load(file, weights_only=True, map_location="cpu")
        expected[number] = 50.0 * number
        assert all(bool((value == expected[number]).all()) for value in saved.values()), number
    assert sorted(expected) == [1, 2, 3, 4, 5, 6]


class Refusing:
    """Pins memory, and then refuses to as CUDA does: it is pinned already. CUDA remembers that error."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime
        self.refusals = 0

    def cudaHostRegister(self, address: int, size_bytes: int, flags: int) -> int:  # noqa: N802  # CUDA's name
        self.runtime.cudaHostRegister(address, size_bytes, flags)
        result = int(self.runtime.cudaHostRegister(address, size_bytes, flags))
        self.runtime.cudaHostUnregister(address)
        self.refusals += result != 0
        return result


@pytest.mark.skipif(DEVICE != "cuda", reason="memory is pinned for a GPU alone")
def test_a_save_in_memory_that_cannot_be_pinned_disturbs_nobody(tmp_path: Path, monkeypatch: Any) -> None:
    parts = trained_parts()
    runtime = Refusing(torch.cuda.cudart())  # type: ignore[no-untyped-call]  # torch leaves it untyped
    monkeypatch.setattr(torch.cuda, "cudart", lambda: runtime)
    save(parts, tmp_path, asynchronous=True)
    assert runtime.refusals == 1
    parts["trainer"].run(make_batches())  # its next kernel would raise the error that is remembered
    monkeypatch.undo()
    restored = new_parts()
    restore_latest(tmp_path, restored)
    assert restored["trainer"].state.iteration == 6


def test_gpu_tensors_that_share_memory_share_it_in_the_file(tmp_path: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4, bias=False), torch.nn.Linear(4, 4, bias=False)).to(DEVICE)
    model[1].weight = model[0].weight
    saved = torch.load(save({"model": model}, tmp_path, asynchronous=True), weights_only=True)
    assert saved["0.weight"].data_ptr() == saved["1.weight"].data_ptr()
    assert_same(values(model), saved)


def test_a_load_that_fails_leaves_the_gpu_as_it_was(tmp_path: Path) -> None:
    parts = trained_parts()
    before = copy.deepcopy([values(part) for part in parts.values()])
    file = save({**trained_parts(), "model": torch.nn.Linear(2, 2).to(DEVICE)}, tmp_path)
    with pytest.raises(RuntimeError, match="size mismatch|Missing key|Unexpected key|Error"):
        Checkpoint.load_objects(parts, file)
    assert_same(before, [values(part) for part in parts.values()])
