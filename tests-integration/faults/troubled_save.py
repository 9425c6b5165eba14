"""A save in trouble, and what must be true after it.

A save that fails must say so with one kind of error, and leave files and list as they were; where one name is written
again and again, the file may be the new one, whole. A save that does not fail in spite of the trouble must be
complete. Either way the next save works.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn
from ways_to_save import SCORES, model_of

from camshaft.engine import Engine
from camshaft.handlers import (
    Checkpoint,
    CheckpointWriteError,
    DiskSaver,
    list_checkpoints,
    restore_latest,
    verify_checkpoint,
)

MORE_WIDTH = 150  # of weights that make the file one of many blocks


class Setting(NamedTuple):
    """How checkpoints are saved, and what has been saved before a call fails."""

    name: str
    options: dict[str, Any]
    steps_before: int = 2
    is_restarted: bool = False
    durable: bool = True
    asynchronous: bool = False


SETTINGS = (
    Setting("first save", {}, steps_before=0),
    Setting("n_saved=1", {"n_saved": 1}),
    Setting("n_saved=2", {"n_saved": 2}, steps_before=3),
    Setting("n_saved=None", {"n_saved": None}),
    Setting("same name", {"filename_pattern": "{name}.{ext}"}),
    Setting("best", {"n_saved": 2, "score_function": lambda engine: SCORES.get(engine.state.iteration, 1)}),
    Setting("restart", {"n_saved": 2}, is_restarted=True),
    Setting("durable=False", {"n_saved": 1}, durable=False),
    Setting("asynchronous", {"n_saved": 1}, asynchronous=True),
    Setting("asynchronous first save", {}, steps_before=0, asynchronous=True),
)


class Run:
    """A directory in which some steps have been saved, and the handler that saves the next ones."""

    def __init__(self, directory: Path, setting: Setting) -> None:
        self.directory, self.setting = directory, setting
        self.model, self.step = model_of(0), 0
        self.start()
        for _ in range(setting.steps_before):
            self.save()
        if setting.is_restarted:
            self.restart()

    def start(self) -> None:
        durable, asynchronous = self.setting.durable, self.setting.asynchronous
        self.saver = DiskSaver(self.directory, require_empty=False, durable=durable, asynchronous=asynchronous)
        objects = {"model": self.model, "more": nn.Linear(MORE_WIDTH, MORE_WIDTH)}
        self.handler = Checkpoint(objects, self.saver, **self.setting.options)

    def restart(self) -> None:
        """Go on as a new process does: leftovers are removed, and the list is taken up from the files."""
        self.saver.close()
        self.start()
        if list_checkpoints(self.directory):
            self.handler.restore_latest()

    def save(self) -> None:
        """Save the next step."""
        engine: Engine[None, None] = Engine(lambda engine, batch: None)
        engine.state.iteration = self.step + 1
        nn.init.constant_(self.model.weight, self.step + 1)
        self.handler(engine)
        self.step += 1

    def files(self) -> dict[str, bytes]:
        """Return what is in the directory."""
        return {path.name: path.read_bytes() for path in self.directory.iterdir()}

    def names_kept(self) -> list[str]:
        """Return the names in the list of kept checkpoints."""
        return sorted(name for _, name in self.handler.state_dict()["_saved"])


def attempt(run: Run, trouble: AbstractContextManager[None]) -> BaseException | None:
    """Save while there is trouble; return what was raised."""
    try:
        with trouble:
            run.save()
    except Exception as error:  # noqa: BLE001 - of which kind it is, is the question
        return error
    return None


def problems_of(run: Run, trouble: AbstractContextManager[None], error: int, *, goes_on: bool) -> list[str]:
    """Save in trouble, then without; return everything that went wrong.

    Args:
        run: What saves.
        trouble: What makes calls fail.
        error: The number of the error that they fail with.
        goes_on: Whether nothing can be taken back, because all other calls fail too.
    """
    files, kept = run.files(), run.names_kept()
    raised = attempt(run, trouble)
    if raised is None:
        problems = _incomplete(run, exactly=False)
    else:
        problems = [*_not_as_before(run, files, kept, goes_on=goes_on), *_unsound(run)]
        is_right = type(raised) is CheckpointWriteError and raised.errno == error
        if not is_right or getattr(raised.__cause__, "errno", None) != error:
            problems.append(f"raised {raised!r} from {raised.__cause__!r}")
    if goes_on:
        run.restart()
    run.save()
    return problems + [f"next save: {problem}" for problem in _incomplete(run, exactly=not goes_on)]


def _not_as_before(run: Run, files: dict[str, bytes], kept: list[str], *, goes_on: bool) -> list[str]:
    """Return what has changed although the save has failed."""
    left, problems = run.files(), []
    if run.names_kept() != kept:
        problems.append(f"the list was {kept} and is {run.names_kept()}")
    if not goes_on and left.keys() != files.keys():
        problems.append(f"the files were {sorted(files)} and are {sorted(left)}")
    changed = [name for name, content in files.items() if left.get(name) != content]
    if changed and "filename_pattern" not in run.setting.options:
        problems.append(f"the content of {changed} has changed")
    return problems


def _incomplete(run: Run, *, exactly: bool) -> list[str]:
    """Return what is wrong after a save that was said to be done.

    Args:
        run: What has saved.
        exactly: Whether the files must be those in the list; otherwise one of them may be in the list still, because
            it is not sure that its removal lasts, or a file may be there that could not be taken back.
    """
    problems, names, kept = _unsound(run), sorted(run.files()), run.names_kept()
    if names != kept and (exactly or not set(names) & set(kept)):
        problems.append(f"there are {names}, and {kept} are listed")
    if any(name.endswith(".tmp") for name in names):
        problems.append(f"something is left over: {names}")
    step = restore_latest(run.directory, {"model": model_of(0)}).step
    return problems if step == run.step else [*problems, f"step {step} was restored, not {run.step}"]


def _unsound(run: Run) -> list[str]:
    problems = []
    for item in list_checkpoints(run.directory):
        try:
            verify_checkpoint(item.path)
        except (ValueError, OSError) as error:
            problems.append(str(error))
    return problems
