"""Programs that end while a checkpoint is being written: `exits.py DIRECTORY WAY`."""

from __future__ import annotations

import atexit
import errno
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch

at_very_end: list[Callable[[], object]] = []
atexit.register(lambda: [do() for do in at_very_end])  # called after what is registered by imports

from camshaft.handlers import DiskSaver  # noqa: E402 - see above

SLOW_S = 0.2  # for the disk to sync a file
FOR_EVER_S = 600


def on_disk(do: Callable[[], object]) -> None:
    """Let something happen whenever a file is synced in the background."""
    sync = os.fsync

    def call(descriptor: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            do()
        sync(descriptor)

    os.fsync = call  # type: ignore[assignment]  # it takes what is synced here


def fail() -> None:
    time.sleep(SLOW_S)
    raise OSError(errno.EIO, "the disk is gone")


def save_in_child(directory: Path, way: str) -> None:
    """Save as the last thing that a forked process does, and exit as it has."""
    child = multiprocessing.get_context("fork").Process(target=save, args=(directory, way))
    child.start()
    child.join()
    sys.exit(child.exitcode)


def save(directory: Path, way: str) -> DiskSaver:
    saver = DiskSaver(directory, asynchronous=True, timeout_s=0.3 if way == "hangs" else 60)
    saver({"weight": torch.ones(1000, 1000)}, "model.pt")
    return saver


def main() -> None:
    directory, way = Path(sys.argv[1]), sys.argv[2]
    what = way.removesuffix(" in a child")
    on_disk({"fails": fail, "hangs": lambda: time.sleep(FOR_EVER_S)}.get(what, lambda: time.sleep(SLOW_S)))
    if what != way:
        save_in_child(directory, way)
    saver = save(directory, way)
    if way == "raises":
        raise ZeroDivisionError
    if way == "sys.exit":
        sys.exit(5)
    if way == "in atexit":
        atexit.register(lambda: saver({"weight": torch.zeros(1000, 1000)}, "later.pt"))
    if way == "after the library":
        at_very_end.append(lambda: saver({"weight": torch.zeros(1000, 1000)}, "later.pt"))
    if way == "thread":  # Python waits for it, and then ends
        threading.Thread(target=time.sleep, args=(0.05,)).start()


if __name__ == "__main__":
    main()
