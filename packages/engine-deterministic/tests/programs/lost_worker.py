"""A worker is killed; the run fails, goes on with new workers, and has seen what an undisturbed one sees."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys

import torch
from torch.utils.data import DataLoader

from camshaft.deterministic import DeterministicEngine
from camshaft.engine import Events


def run(workers, *, kill):
    seen = []
    loader = DataLoader(
        torch.arange(40), batch_size=2, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    engine = DeterministicEngine(lambda engine, batch: seen.append(batch.tolist()))

    def kill_one():
        if not engine.state.resumed:
            os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    if kill:
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=8), kill_one)
    try:
        engine.run(loader, max_epochs=2, seed=3)
    except (RuntimeError, OSError) as error:  # from the dead worker, or from the way to it
        seen.append(error.__notes__[-1])
        engine.run(loader)
    return seen


def main():
    expected, seen = run(0, kill=False), run(2, kill=True)
    told = [entry for entry in seen if isinstance(entry, str)]
    if len(told) != 1 or "while the run waited for batch" not in told[0]:
        return f"the run did not fail as it should: {told}"
    seen.remove(told[0])
    return None if expected == seen else f"{expected} is not {seen}"


if __name__ == "__main__":
    sys.exit(main())
