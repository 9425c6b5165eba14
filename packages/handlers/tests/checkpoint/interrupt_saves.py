"""Interrupt saves at random moments, and look at what is left: `python interrupt_saves.py DIRECTORY INTERRUPTS [SEED]`.

A second thread sends SIGINT to the process while the main thread saves, inside runs and outside of them. After each
interrupt the files in the directory, the list of the handler and PyTorch's options must be as after a save that was
completed, or was never asked for. One line of JSON at the end counts what was seen, and each kind of broken promise:
"completed" are interrupts that never surfaced, "swallowed" those of them that Python says it threw away itself.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from camshaft.engine import Engine, Events
from camshaft.handlers import Checkpoint, DiskSaver, verify_checkpoint

N_SAVED = 2
PROMISES = (
    "list_disagrees",
    "too_many_kept",
    "left_over",
    "damaged",
    "lost",
    "stuck",
    "other_exception",
    "handlers",
    "option",
)


class Interrupter:
    """A thread that sends one SIGINT to the process, a given time after it was asked to.

    The two threads share plain attributes and a pipe: the locks of `threading` may stay locked for ever when their
    owner is interrupted.
    """

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        self._delay_s, self._asked, self._sent = 0.0, 0, 0
        threading.Thread(target=self._serve, daemon=True).start()

    def send_after(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._asked += 1
        os.write(self._writing, b".")

    def wait(self) -> None:
        while self._sent < self._asked:
            time.sleep(0.0002)

    def _serve(self) -> None:
        while True:
            os.read(self._reading, 1)
            end = time.perf_counter() + self._delay_s
            while time.perf_counter() < end:
                time.sleep(0)
            # Noted before this returns; Python handles it in the main thread, at its next instruction.
            signal.raise_signal(signal.SIGINT)
            self._sent += 1


class Swallowed:
    """Notes each KeyboardInterrupt that Python itself prints as "Exception ignored in" and throws away.

    It does so where a handler raises inside a `__del__`, a callback of a weak reference or of the garbage collector.
    """

    def __init__(self) -> None:
        self.places: list[str] = []
        sys.unraisablehook = self._note

    def _note(self, unraisable: sys.UnraisableHookArgs) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            self.places.append(repr(unraisable.object))
        else:
            sys.__unraisablehook__(unraisable)


class Training:
    """A model that is saved every time with other values, and what is known of its saves."""

    def __init__(self, directory: Path, *, asynchronous: bool = False) -> None:
        self.directory = directory
        saver = DiskSaver(directory, require_empty=False, asynchronous=asynchronous)
        self.model = torch.nn.Linear(60, 60)
        self.engine: Engine[int, None] = Engine(lambda engine, batch: self.train())
        self.count = 0
        self.latest = Checkpoint(
            {"model": self.model}, saver, n_saved=N_SAVED, include_self=True,
            global_step_transform=lambda engine, event: self.count,
        )  # fmt: skip
        self.engine.add_event_handler(Events.ITERATION_COMPLETED, self.latest)

    def train(self) -> None:
        self.count += 1
        torch.nn.init.constant_(self.model.weight, self.count)

    def save(self) -> None:
        self.train()
        self.latest(self.engine)

    def run(self) -> None:
        self.engine.run([1, 2], max_epochs=1)

    def make_saver(self) -> None:
        DiskSaver(self.directory, require_empty=False).close()

    def restore(self) -> None:
        torch.nn.init.constant_(self.model.weight, -1)
        try:
            self.latest.restore_latest()
        except KeyboardInterrupt:
            if len(self.model.weight.detach().unique()) > 1:
                raise RuntimeError("half of a state was loaded") from None
            raise

    def problems(self) -> list[str]:
        """Return which promises are broken now; what is still being written is waited for."""
        self.latest.wait()
        files = sorted(path.name for path in self.directory.iterdir())
        temporary = [name for name in files if name.endswith(".tmp")]
        listed = sorted(name for _, name in self.latest.state_dict()["_saved"])
        found = {
            "left_over": bool(temporary),
            "list_disagrees": listed != [name for name in files if name not in temporary],
            "too_many_kept": len(listed) > N_SAVED,
            "lost": not listed,
            "stuck": self.engine.is_running,
            "handlers": signal.getsignal(signal.SIGINT) is not signal.default_int_handler,
            "option": not torch.serialization.get_crc32_options(),
        }
        return [name for name, is_broken in found.items() if is_broken]

    def damaged(self) -> int:
        """Return how many of the files do not verify or hold other values than their name says."""
        count = 0
        for path in self.directory.glob("*.pt"):
            verify_checkpoint(path)
            weight = torch.load(path)["model"]["weight"]
            count += not bool((weight == int(path.stem.rpartition("_")[2])).all())
        return count


def interrupted(action: Callable[[], None], interrupter: Interrupter, delay_s: float) -> str:
    """Run an action while a SIGINT comes, and return what became of it."""
    result = "completed"
    try:
        interrupter.send_after(delay_s)
        action()
        interrupter.wait()
        time.sleep(0)
    except KeyboardInterrupt:
        result = "interrupted"
    except BaseException as error:  # noqa: BLE001 - what comes out is the question
        result = f"other_exception: {error!r}"
    return result


def storm(directory: Path, interrupts: int, seed: int) -> Counter[str]:
    """Interrupt saves, restores and the making of savers, and count what was seen."""
    choose, seen = random.Random(seed), Counter[str](dict.fromkeys(PROMISES, 0))
    trainings = [Training(directory / str(asynchronous), asynchronous=asynchronous) for asynchronous in (False, True)]
    interrupter, swallowed = Interrupter(), Swallowed()
    for training in trainings:
        training.save()
    longest_s = 0.01
    names = ["save"] * 6 + ["run"] * 4 + ["make_saver", "restore"]
    for number in range(interrupts):
        training = trainings[number // 50 % 2]
        try:
            newest = training.latest.newest_checkpoint
            action = getattr(training, choose.choice(names))
            result = interrupted(action, interrupter, choose.uniform(0, longest_s))
            interrupter.wait()
        except KeyboardInterrupt:
            result = "interrupted"
        if result == "completed" and swallowed.places:
            result = f"swallowed: {swallowed.places}"
        swallowed.places.clear()
        seen[result.partition(":")[0]] += 1
        if result != "interrupted":
            sys.stderr.write(f"{action.__name__}: {result}\n")
        seen.update(training.problems())
        is_saved = newest != training.latest.newest_checkpoint
        seen["saved"] += is_saved
        longest_s *= 0.95 if is_saved else 1.05  # however busy the machine is, about half of the saves are completed
        if number % 50 == 0:
            seen["damaged"] += training.damaged()
    return seen


def main() -> None:
    torch.set_num_threads(1)
    # A process that a shell has started in the background ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    directory, interrupts = Path(sys.argv[1]), int(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    sys.stdout.write(json.dumps(storm(directory, interrupts, seed)))


if __name__ == "__main__":
    main()
