"""The workers of a loader: ended at once, and named when one of them dies."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from functools import partial
from multiprocessing import connection
from types import FrameType
from typing import Any, Protocol
from weakref import WeakSet

# What torch raises from its handler of SIGCHLD, wherever the program is by then.
_LOST = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")
# An error that a living worker has sent.
_SENT = "Caught "
# A worker whose end of a pipe is closed is dying: the signal comes within moments.
DYING_S = 5.0


class Waiting(Protocol):
    """What waits for the batches of a loader."""

    def note_lost_workers(self, error: BaseException) -> None:
        """Add to `error` which worker was lost, and where, if it was one of its own."""


_waiting: WeakSet[Any] = WeakSet()


def watch_workers(waiting: Waiting) -> None:
    """Let `waiting` add what it knows to the error that tells of a lost worker, until it is freed.

    Torch raises that error from a signal handler: in the fetch, in the step, in the handler of an event. So
    the note is added right there. Does nothing outside the main thread, where no signal is handled.
    """
    _waiting.add(waiting)
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        return
    present = signal.getsignal(signal.SIGCHLD)
    if callable(present) and getattr(present, "func", None) is not _handle:
        signal.signal(signal.SIGCHLD, partial(_handle, present))


def _handle(handler: Any, number: int, frame: FrameType | None) -> None:
    try:
        handler(number, frame)
    except RuntimeError as error:
        for waiting in list(_waiting):
            waiting.note_lost_workers(error)
        raise


def workers_of(iterator: object) -> list[Any]:
    """Return the worker processes of a loader's iterator, none if it has none."""
    return list(getattr(iterator, "_workers", None) or ())  # torch has no public name for them


def find_lost(error: BaseException, iterator: object) -> RuntimeError | None:
    """Return the error that torch has for a lost worker, where `error` is only the broken answer of one; else None.

    Args:
        error: what the fetch raised.
        iterator: the loader's iterator.

    Raises:
        RuntimeError: the same, from torch's signal handler, if that comes first.
    """
    workers = workers_of(iterator)
    if not workers or not isinstance(error, EOFError | OSError) or str(error).startswith(_SENT):
        return None
    dying = connection.wait([worker.sentinel for worker in workers], DYING_S)
    for worker in workers:
        if worker.sentinel in dying:
            worker.join(DYING_S)  # its pipes are closed a moment before it can be asked for
        if not worker.is_alive():  # asked for, it is gone for torch's signal handler too: there is one error only
            return RuntimeError(f"DataLoader worker (pid {worker.pid}) was lost in the middle of its answer")
    return None


def pids_in(error: BaseException) -> list[int]:
    """Return the process numbers of the lost workers that torch's error names."""
    found = _LOST.match(str(error))
    return [int(number) for number in found[1].split(", ")] if found else []


def end_workers(iterator: Iterator[Any] | None) -> None:
    """End the workers of a loader's iterator now, whoever still refers to it: a traceback, say.

    Left to the garbage collector, torch waits five seconds for each of them.
    """
    if isinstance(iterator, Generator):  # the iteration of a subclass
        iterator.close()
    shut_down = getattr(iterator, "_shutdown_workers", None)  # torch has no public name for it
    if callable(shut_down):
        # Torch tells of a killed worker by raising anywhere; the run has been told, or has no need of it any more.
        with suppress(RuntimeError):
            shut_down()
