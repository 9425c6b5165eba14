"""One of two processes that save and restore together: does each case, and prints what it saw as JSON."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from camshaft.distributed import Process, start
from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, CSVLogger, DiskSaver, History, ProgressBar, RunLog, restore_latest


class Number:
    """A number that is saved; what `refuse` is set to is raised when it is loaded."""

    def __init__(self, value: int = 0) -> None:
        self.value = value
        self.refuse: Exception | None = None
        self.cannot_gather = False

    def state_dict(self) -> dict[str, int]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.value = state["value"]
        if self.refuse is not None:
            raise self.refuse

    def consolidate_state_dict(self, to: int) -> None:
        if self.cannot_gather:
            raise ValueError("there is nothing to gather")


def attempt(do: Any) -> str:
    """Return what doing something has raised."""
    try:
        do()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is looked at
        return f"{type(error).__name__}: {error}"
    return "done"


def save_the_best(process: Process, folder: Path) -> Any:
    """Keep the two best by a score that differs between the processes."""
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    scores = [5, 1, 4, 2, 3] if process.rank == 0 else [1, 2, 3, 4, 5]
    best = Checkpoint(
        {"number": Number()}, folder, score_function=lambda _: scores[engine.state.iteration - 1], n_saved=2
    )
    events: list[int] = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, best)
    engine.add_event_handler(Checkpoint.SAVED_CHECKPOINT, lambda: events.append(engine.state.iteration))
    engine.run(range(5))
    return [best.state_dict()["_saved"], str(best.last_checkpoint), events]


def fail_to_write(process: Process, folder: Path) -> Any:
    """Save with a handler that fails once, on the process that saves."""
    written: list[str] = []

    def write(checkpoint: Any, filename: str) -> None:
        if filename == "number_2.pt":
            raise OSError(28, "No space left on device")
        written.append(filename)

    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    found: list[str] = []
    latest = Checkpoint({"number": Number()}, write, n_saved=None)

    for number in (1, 2, 3):
        engine.state.iteration = number
        found.append(attempt(lambda: latest(engine)))
    return [found, [name for _, name in latest.state_dict()["_saved"]], written]


def fail_to_gather(process: Process, folder: Path) -> Any:
    """Save an object that cannot gather its state on rank 1."""
    number = Number()
    number.cannot_gather = process.rank == 1
    return attempt(lambda: Checkpoint({"number": number}, folder)(Engine(lambda engine, batch: None)))


def save_three(folder: Path) -> None:
    """Save the numbers 1, 2 and 3."""
    number = Number()
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    latest = Checkpoint({"number": number}, folder, n_saved=3)
    for number.value in (1, 2, 3):
        engine.state.iteration = number.value
        latest(engine)


def restore(process: Process, folder: Path, spoil: Callable[[Path], object], number: Number | None = None) -> Any:
    """Restore where rank 1 has a view of its own of the directory, which was spoilt."""
    save_three(folder / "seen")
    process.exchange("saved", None)
    mine = folder / f"seen by {process.rank}"
    shutil.copytree(folder / "seen", mine)
    if process.rank == 1:
        spoil(mine)
    process.exchange("spoilt", None)
    number = number or Number()
    reports: list[Any] = []
    text = attempt(lambda: reports.append(restore_latest(mine, {"number": number})))
    skipped = [[path.name, reason] for path, reason in reports[0].skipped] if reports else None
    return [number.value, text, skipped]


def hide(folder: Path) -> None:
    (folder / "number_3.pt").unlink()


def damage(folder: Path) -> None:
    content = bytearray((folder / "number_3.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "number_3.pt").write_bytes(content)


def replace_newest(folder: Path) -> None:
    shutil.copy(folder / "number_2.pt", folder / "number_3.pt")


def clear(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def refuse_to_load(process: Process, folder: Path) -> Any:
    """Restore into an object that cannot load on rank 1."""
    number = Number(7)
    number.refuse = KeyError("value of another kind") if process.rank == 1 else None
    return restore(process, folder, lambda _: None, number)


def restore_list(process: Process, folder: Path) -> Any:
    """Return the list of kept checkpoints after restoring."""
    save_three(folder)
    process.exchange("saved", None)
    again = Checkpoint({"number": Number()}, folder, n_saved=2)
    report = again.restore_latest()
    nothing = Checkpoint({"number": Number()}, folder / "empty").restore_latest(missing_ok=True)
    return [report.path.name, [name for _, name in again.state_dict()["_saved"]], nothing]


def write_files(process: Process, folder: Path) -> Any:
    """Attach what writes files in all processes, and return what is there then."""
    engine: Engine[Any, Any] = Engine(lambda engine, batch: batch)
    history = History(folder / "history.jsonl")
    history.attach(engine, values=lambda engine: {"output": engine.state.output})
    CSVLogger(folder / "rows.csv").attach(
        engine, Events.ITERATION_COMPLETED, values=lambda engine: {"x": engine.state.output}
    )
    RunLog(folder / "log.jsonl").attach(engine)
    ProgressBar().attach(engine)
    latest = Checkpoint({"history": history}, folder / "saved", save_on_rank=1)
    engine.add_event_handler(Events.COMPLETED, latest)
    engine.run([1.0, 2.0], max_epochs=2)
    process.exchange("written", None)
    saved = torch.load(latest.last_checkpoint or "")
    lines = {file.name: len(file.read_text().splitlines()) for file in sorted(folder.glob("*.*"))}
    return [lines, saved["size"] == (folder / "history.jsonl").stat().st_size]


def save_in_background(process: Process, folder: Path) -> Any:
    """Save without waiting, and return what is kept at the end."""
    engine: Engine[Any, Any] = Engine(lambda engine, batch: None)
    process.agree(engine)
    latest = Checkpoint({"number": Number()}, DiskSaver(folder, require_empty=False, asynchronous=True), n_saved=2)
    events: list[int] = []
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), latest)
    engine.add_event_handler(Checkpoint.SAVED_CHECKPOINT, lambda: events.append(engine.state.iteration))
    engine.run(range(8))
    return [[name for _, name in latest.state_dict()["_saved"]], events]


def main() -> None:
    """Do every case in a folder of its own."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    shared = Path(sys.argv[1])
    with start(timeout_s=60, device="cpu") as process:
        cases: dict[str, Callable[[Process, Path], Any]] = {
            "best": save_the_best,
            "write": fail_to_write,
            "gather": fail_to_gather,
            "hidden": partial(restore, spoil=hide),
            "damaged": partial(restore, spoil=damage),
            "other": partial(restore, spoil=replace_newest),
            "none": partial(restore, spoil=clear),
            "refused": refuse_to_load,
            "list": restore_list,
            "files": write_files,
            "background": save_in_background,
        }
        found = {}
        for name, do in cases.items():
            folder = shared / name
            folder.mkdir(exist_ok=True)
            found[name] = do(process, folder)
        json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
