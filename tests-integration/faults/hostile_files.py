"""Put files made to do harm in front of a sound checkpoint, and see that none of it is done.

Each file is met by a process of its own: nothing may be run, nothing outside the directory may change, the
older, sound checkpoint must be restored, and memory may grow by little more than the file is long.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import io
import operator
import os
import pickle
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import timeit
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from outcome import Outcome
from torch import nn

from camshaft.engine import Engine, EngineWarning
from camshaft.handlers import Checkpoint, CheckpointError, DiskSaver, restore_latest

CANARY = "canary"
BOMB_BYTES = 1 << 28
LARGE_BYTES = 1 << 26
SLACK_BYTES = 8 << 20  # what the interpreter takes for itself on the way

Plant = Callable[[Path], object]


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def pickles() -> dict[str, bytes]:
    """Return pickles that leave the file or folder `canary` behind when they are loaded."""
    make = f"open({CANARY!r}, 'w').close()"
    calls = {
        "os.system": Calls(os.system, f"touch {CANARY}"),
        "os.mkdir": Calls(os.mkdir, CANARY),
        "open": Calls(builtins.open, CANARY, "w"),
        "FileIO": Calls(io.FileIO, CANARY, "w"),
        "eval": Calls(builtins.eval, make),
        "exec": Calls(builtins.exec, make),
        "__import__": Calls(builtins.__import__, "harm"),
        "import_module": Calls(importlib.import_module, "harm"),
        "run_path": Calls(runpy.run_path, "harm.py"),
        "check_call": Calls(subprocess.check_call, ["touch", CANARY]),
        "partial": Calls(functools.partial(os.mkdir, CANARY)),
        "methodcaller": Calls(operator.methodcaller("__call__", CANARY), os.mkdir),
        "timeit": Calls(timeit.timeit, make),
        "copy": Calls(shutil.copy, "harm.py", CANARY),
        "rmtree": Calls(shutil.rmtree, ".."),
        "torch.hub": Calls(torch.hub.load, ".", "harm"),
        "torch.save": Calls(torch.save, 1, CANARY),
        "loads": Calls(pickle.loads, pickle.dumps(Calls(os.mkdir, CANARY))),
    }
    made = {name: pickle.dumps({"model": call}, protocol=2) for name, call in calls.items()}
    made["protocol 4"] = pickle.dumps({"model": Calls(os.mkdir, CANARY)}, protocol=4)
    made["inst"] = f"(S'{CANARY}'\nios\nmkdir\n.".encode()
    made["obj"] = f"(cos\nmkdir\nS'{CANARY}'\no.".encode()
    made["long bytearray"] = b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b"x."
    made["billion laughs"] = b"\x80\x02]" + b"(" + b"0".join(b"2" * 9 for _ in range(40)) + b"t."
    return made


def archive(pickled: bytes, others: Mapping[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    """Return a checkpoint as torch writes it, with another pickle in it, and other entries besides."""
    honest, made = io.BytesIO(), io.BytesIO()
    torch.save({"model": nn.Linear(4, 4).state_dict()}, honest)
    with zipfile.ZipFile(honest) as source, zipfile.ZipFile(made, "w") as target:
        for entry in source.infolist():
            content = pickled if entry.filename.endswith("data.pkl") else source.read(entry)
            target.writestr(entry.filename, content, method)
        for name, content in (others or {}).items():
            target.writestr(name, content, method)
    return made.getvalue()


def honest_pickle() -> bytes:
    honest = io.BytesIO()
    torch.save({"model": nn.Linear(4, 4).state_dict()}, honest)
    with zipfile.ZipFile(honest) as source:
        return source.read("archive/data.pkl")


def larger_than_it_is(size_bytes: int) -> bytes:
    """Return an archive whose directory declares an entry to be of another size."""
    content = bytearray(archive(honest_pickle()))
    for match in re.finditer(b"PK\x01\x02", content):
        content[match.start() + 20 : match.start() + 28] = size_bytes.to_bytes(4, "little") * 2
        break
    return bytes(content)


def plants() -> dict[str, Plant]:
    """Return what puts each hostile file where the newest checkpoint is looked for."""
    pickled = honest_pickle()
    contents = {name: archive(each) for name, each in pickles().items()}
    contents |= {
        "deflated bomb": archive(pickled, {"archive/data/9": bytes(BOMB_BYTES)}, zipfile.ZIP_DEFLATED),
        "bzip2 bomb": archive(pickled, {"archive/data/9": bytes(1 << 24)}, zipfile.ZIP_BZIP2),
        "huge declared size": larger_than_it_is(0xFFFFFFF0),
        "negative declared size": larger_than_it_is(0x80000000),
        "tensor larger than its storage": archive(pickled.replace(b"K\x10tq", b"J\xff\xff\xff\x7ftq")),
        "entry that climbs": archive(pickled, {f"archive/../../{CANARY}": b"harm"}),
        "entry with an absolute path": archive(pickled, {f"/tmp/{CANARY}": b"harm"}),  # noqa: S108  # never made
        "large and hostile": archive(pickles()["os.mkdir"], {"archive/data/9": bytes(LARGE_BYTES)}),
        "plain pickle": pickles()["os.mkdir"],
        "shell script": b"#!/bin/sh\ntouch canary\n",
        "scripted model": archive(pickled, {"archive/constants.pkl": pickles()["os.mkdir"]}),
    }
    made: dict[str, Plant] = {name: functools.partial(Path.write_bytes, data=data) for name, data in contents.items()}
    made["symbolic link"] = lambda path: path.symlink_to("../elsewhere.pt")
    made["hard link"] = lambda path: path.hardlink_to(path.parent.parent / "elsewhere.pt")
    made["link to itself"] = lambda path: path.symlink_to(path.name)
    made["named pipe"] = os.mkfifo
    made["directory"] = Path.mkdir
    return made


def outside(directory: Path) -> dict[str, bytes]:
    """Return everything around the directory of the checkpoints."""
    return {
        str(path.relative_to(directory.parent)): path.read_bytes()
        for path in directory.parent.rglob("*")
        if path.is_file() and directory not in path.parents
    }


def memory_bytes(name: str) -> int:
    """Return a figure of this process's memory: `VmRSS` now, `VmHWM` the most so far."""
    match = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match is not None
    return int(match[1]) * 1024


def is_loaded(directory: Path, path: Path, model: nn.Module) -> bool:
    """Restore from the directory, and load the file by itself; return whether either has taken it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EngineWarning)
        report = restore_latest(directory, {"model": model})
    try:
        Checkpoint.load_objects({"model": model}, path)
    except (CheckpointError, OSError):
        return report.path == path
    return True


def meet(directory: Path, path: Path) -> str:
    """Meet a hostile file; return what went wrong, or nothing."""
    os.chdir(directory.parent)
    before, size_bytes = outside(directory), path.stat().st_size if path.is_file() else 0
    model = nn.Linear(4, 4)
    # Measured is the second time: by then a forked process has the parts of libraries that it needs.
    was_loaded = is_loaded(directory, path, model)
    Path("/proc/self/clear_refs").write_text("5")  # the most so far is what is taken now
    memory = memory_bytes("VmRSS")
    was_loaded |= is_loaded(directory, path, model)
    grown = memory_bytes("VmHWM") - memory
    found = [
        "it was loaded" if was_loaded else "",
        "it was run" if os.path.lexists(CANARY) or os.path.lexists(directory / CANARY) else "",
        "something outside has changed" if outside(directory) != before else "",
        "the weights are not those of the sound file" if not bool((model.weight == 3).all()) else "",
        f"memory grew by {grown >> 20} MiB" if grown > 1.1 * size_bytes + SLACK_BYTES else "",
    ]
    return "; ".join(filter(None, found))


def met_in_a_process(plant: Plant) -> str:
    """Set everything up in a new folder, meet the file in a forked process, and return what went wrong."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "checkpoints"
        model = nn.Linear(4, 4)
        nn.init.constant_(model.weight, 3)
        engine: Engine[None, None] = Engine(lambda engine, batch: None)
        engine.state.iteration = 1
        saver = DiskSaver(directory)
        Checkpoint({"model": model}, saver)(engine)
        saver.close()
        (Path(name) / "elsewhere.pt").write_bytes(archive(honest_pickle()))
        (Path(name) / "harm.py").write_text(f"open({CANARY!r}, 'w').close()")
        path = directory / "model_2.pt"
        plant(path)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writing, meet(directory, path).encode())
                os._exit(0)
            except BaseException as error:  # noqa: BLE001  # told to the parent
                os.write(writing, repr(error).encode())
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading, "rb") as report:
            found = report.read().decode()
        _, status = os.waitpid(child, 0)
        return found or ("" if status == 0 else f"the process ended with {status}")


def foreign_names(root: Path) -> list[str]:
    """Return names that a list of kept checkpoints must not hold: none of them is the handler's to remove."""
    return [
        "../elsewhere.pt",
        str(root / "elsewhere.pt"),
        "notes.txt",
        "best_model_1.pt",
        "other_1.pt",
        "folder/model_1.pt",
        "../checkpoints/model_1.pt",
        "model_1.pt/../notes.txt",
        "..",
        ".",
        "",
        "model_1\0.pt",
    ]


def problems_of_list(number: int) -> str:
    """Load a list of kept checkpoints with a foreign name, save on, and return what went wrong, or nothing."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore", EngineWarning)
        root = Path(name)
        directory, foreign = root / "checkpoints", foreign_names(root)[number]
        (directory / "folder").mkdir(parents=True)
        bystanders = [
            "elsewhere.pt",
            *(f"checkpoints/{each}" for each in ("notes.txt", "other_1.pt", "best_model_1.pt")),
        ]
        for each in (*bystanders, "checkpoints/folder/model_1.pt"):
            (root / each).write_bytes(b"somebody's")
        before = outside(root / "none")
        model = nn.Linear(4, 4)
        saver = DiskSaver(directory, require_empty=False)
        handler = Checkpoint({"model": model}, saver, n_saved=1)
        saver({"model": model.state_dict(), "checkpointer": {"_saved": [(1, foreign)]}}, "checkpoint_1.pt")
        kept = handler.state_dict()
        try:
            Checkpoint.load_objects({"model": model, "checkpointer": handler}, directory / "checkpoint_1.pt")
        except ValueError:
            found = (
                "" if handler.state_dict() == kept else f"a list with {foreign!r} was refused and taken all the same"
            )
        else:
            found = f"a list with {foreign!r} was taken"
        engine: Engine[None, None] = Engine(lambda engine, batch: None)
        for engine.state.iteration in (5, 6):
            handler(engine)
        saver.close()
        after = outside(root / "none")
        gone = sorted(path for path, content in before.items() if after.get(path) != content)
        return "; ".join(filter(None, [found, f"{gone} are gone or changed" if gone else ""]))


def run(full: bool) -> Outcome:
    """Meet every file, or in the slice every third."""
    losses = []
    chosen = list(plants().items())[:: 1 if full else 3]
    for name, plant in chosen:
        problem = met_in_a_process(plant)
        if problem:
            losses.append(f"{name}: {problem}")
    places = range(len(foreign_names(Path()))) if full else range(2)
    for place in places:
        problem = problems_of_list(place)
        losses += [problem] if problem else []
    detail = "; ".join(losses) or f"{len(places)} foreign names in lists, and {', '.join(dict(chosen))}"
    return Outcome("G10 hostile files", len(chosen) + len(places), len(losses), detail)


if __name__ == "__main__":
    sys.stdout.write(f"{run(full=True)}\n")
