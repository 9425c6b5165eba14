"""Lose power at every moment of saving, and see that what was promised to be safe is restored.

What a saver does is recorded call by call. From the record follow the directories that may be found after the power
came back. Each is written down, restored from, and saved into. That the enumeration finds losses where there are some
is shown by writers that leave out a step.
"""

from __future__ import annotations

import os
import random
import tempfile
import warnings
from pathlib import Path

from outcome import Outcome
from power_states import State, StatesOf, all_of_it, everything, states_after
from recorded_calls import Call, Recorder
from ways_to_save import NAIVE_WAYS, UNPROMISED, WAYS, Way, model_of

from camshaft.engine import EngineWarning
from camshaft.handlers import DiskSaver, NoCheckpointError, restore_latest, verify_checkpoint

FOLDER = "checkpoints"
MOST_NAIVE = 400  # states that are tried of writers that leave out a step


def record(way: Way) -> list[Call]:
    """Return what a way of writing does to an empty directory."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore", EngineWarning)
        root = Path(name).resolve()
        recorder = Recorder(root)
        with recorder.recording():
            way(root / FOLDER, recorder.promise)
        return recorder.calls


def problem_of(state: State, promised: int) -> str:
    """Write the files down, restore, and save once more; return what went wrong, or nothing."""
    with tempfile.TemporaryDirectory(dir=_fast_place()) as name, warnings.catch_warnings():
        warnings.simplefilter("ignore", EngineWarning)
        root = Path(name)
        for path, content in sorted(state, key=lambda each: each[0]):
            if content is None:
                (root / path).mkdir()
            else:
                (root / path).write_bytes(content)
        try:
            return _restored(root / FOLDER, promised) or _saved_again(root / FOLDER)
        except Exception as error:  # noqa: BLE001 - nothing may be raised, whatever it is
            return f"{type(error).__name__}: {error}"


def _restored(directory: Path, promised: int) -> str:
    model = model_of(0)
    try:
        restore_latest(directory, {"model": model})
    except NoCheckpointError:
        return f"nothing is restored, step {promised} was promised" if promised else ""
    step = int(model.weight[0, 0])
    if not bool((model.weight == step).all()):
        return "the weights are of no step"
    return f"step {step} is restored, step {promised} was promised" if step < promised else ""


def _saved_again(directory: Path) -> str:
    """Start anew in what is left: leftovers have to go, and the next save has to be the newest."""
    saver = DiskSaver(directory, require_empty=False, durable=False)
    saver({"model": model_of(99).state_dict()}, "model_99.pt")
    saver.close()
    hidden = [path.name for path in directory.iterdir() if path.suffix != ".pt" and path.name != "new"]
    verify_checkpoint(directory / "model_99.pt")
    if hidden:
        return f"{hidden} are left over"
    return _restored(directory, 99)


def _fast_place() -> str | None:
    """Return a file system in memory, if there is one: what is restored here was lost already."""
    memory = "/dev/shm"  # noqa: S108 - that one is meant
    return memory if os.access(memory, os.W_OK) else None


def losses_of(way: Way, most: int | None = None, *, kept: StatesOf = everything) -> tuple[int, list[str]]:
    """Return how many states were tried of a way of writing, and what went wrong in some.

    Args:
        way: What writes.
        most: How many states to try, drawn at random; None for all.
        kept: Which states each moment may leave.
    """
    choose = random.Random(0)
    states = list(states_after(record(way), choose, kept).items())
    if most is not None and most < len(states):
        states = choose.sample(states, most)
    problems = [problem_of(state, promised) for state, promised in states]
    return len(states), [problem for problem in problems if problem]


def run(full: bool) -> Outcome:
    """Lose power in every way of writing, in the slice in a sample of the states."""
    most = None if full else 20
    cases, losses, details = 0, 0, []
    for name, way in WAYS.items():
        tried, problems = losses_of(way, most)
        cases, losses = cases + tried, losses + len(problems)
        details.append(f"{name} {len(problems)}/{tried}" + "".join(f" ({each})" for each in problems[:1]))
    for name, way in {**NAIVE_WAYS, **UNPROMISED}.items() if full else ():  # the tests have them one by one
        tried, problems = losses_of(way, MOST_NAIVE)
        losses += not problems
        details.append(f"({name}: {len(problems)} of {tried} lost, as has to be)")
    for name, way in UNPROMISED.items():
        tried, problems = losses_of(way, kept=all_of_it)
        cases, losses = cases + tried, losses + len(problems)
        details.append(f"{name} and only killed {len(problems)}/{tried}")
    return Outcome("G7 power lost while saving", cases, losses, "; ".join(details))
