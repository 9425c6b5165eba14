"""A worker is killed; the run says so, goes on with new workers, and has seen what an undisturbed one sees.

Usage: lost_worker.py WHERE, which is where the program is when it learns of it: "fetch", "step" or "handler".
"""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
import threading
import time

from torch.utils.data import DataLoader, Dataset

from camshaft.deterministic import DeterministicEngine
from camshaft.engine import Events

TOLD = re.compile(r"worker (0|1) of 2 was lost; the next batch is batch \d+ of pass 0")


class Stalling(Dataset):
    """Its workers stall at one sample, once told to."""

    def __init__(self, stalls):
        self.stalls = stalls

    def __len__(self):
        return 40

    def __getitem__(self, index):
        while self.stalls.is_set() and index % 2:
            time.sleep(0.01)
        return index


def kill_one():
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)


def wait_for_the_signal():
    kill_one()
    while True:  # until torch's signal handler raises
        signal.pause()


def kill_beside_the_fetch(stalls):
    """Let every fetch stall, and kill from another thread: the program waits for a batch, or is about to."""
    stalls.set()
    threading.Thread(target=kill_one).start()


def run(workers, where):
    seen, stalls = [], multiprocessing.Event()
    context = "fork" if workers else None  # only the parent of a worker gets a signal when it dies
    loader = DataLoader(
        Stalling(stalls), batch_size=2, shuffle=True, num_workers=workers, persistent_workers=workers > 0,
        multiprocessing_context=context,
    )  # fmt: skip

    def step(engine, batch):
        if where == "step" and engine.state.iteration == 9 and not engine.state.resumed:
            wait_for_the_signal()
        seen.append(batch.tolist())

    engine = DeterministicEngine(step)
    at = Events.ITERATION_COMPLETED(once=8)
    if where == "handler":
        engine.add_event_handler(at, lambda: None if engine.state.resumed else wait_for_the_signal())
    if where == "fetch":
        engine.add_event_handler(at, lambda: None if engine.state.resumed else kill_beside_the_fetch(stalls))
    told_to_handlers = []
    engine.add_event_handler(Events.EXCEPTION_RAISED, lambda engine, error: told_to_handlers.append(notes_of(error)))
    try:
        engine.run(loader, max_epochs=2, seed=3)
    except RuntimeError as error:
        stalls.clear()
        if notes_of(error) != told_to_handlers[0]:
            return f"the handlers were told {told_to_handlers[0]}, and then {notes_of(error)}"
        if not any(TOLD.search(note) for note in notes_of(error)):
            return f"the error does not say which worker was lost where: {error!r}, {notes_of(error)}"
        engine.run(loader)
    return seen


def notes_of(error):
    return list(getattr(error, "__notes__", ()))


def main(where):
    expected, seen = run(0, None), run(2, where)
    return None if expected == seen else f"{expected} is not {seen}"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
