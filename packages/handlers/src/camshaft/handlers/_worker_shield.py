"""Workers of data loaders that a signal to all processes of a job does not end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import parent_process
from typing import Any

_LOOK_S = 0.25  # how often a worker looks whether the process that it works for is there


class WorkerShield:
    """A `worker_init_fn` for the workers of a data loader, which makes them ignore signals.

    A batch scheduler or a terminal sends a signal to all processes of a job. Workers that end at once leave the run
    without its next batch. A shielded worker ends when the process that it works for ends it, as its loader does, or
    when that process is gone.

    Args:
        signals: What to ignore.
        then: The loader's own `worker_init_fn`, called afterwards.
    """

    def __init__(self, signals: Iterable[int], then: Any = None) -> None:
        self.signals = frozenset(signals)
        self.then = then

    def __call__(self, worker_id: int) -> None:
        """Set up the process of a worker.

        Args:
            worker_id: The number of the worker.
        """
        if hasattr(signal, "sigtimedwait"):
            # Blocked, signals wait for the thread that takes them, and only that can see where they come from.
            signal.pthread_sigmask(signal.SIG_BLOCK, self.signals)
            threading.Thread(target=_obey_parent, args=(self.signals,), name="camshaft-shield", daemon=True).start()
        elif hasattr(os, "setpgid"):  # macOS: at least what is sent to the group does not reach it
            with suppress(PermissionError):  # the worker leads a session of its own
                os.setpgid(0, 0)
        if self.then is not None:
            self.then(worker_id)


def _obey_parent(signals: frozenset[int]) -> None:
    """End this process when its parent ends it, or is gone; drop all other signals."""
    parent, forked_from = parent_process(), os.getppid()
    while parent is not None and parent.is_alive() and os.getppid() == forked_from:
        told = signal.sigtimedwait(signals, _LOOK_S)
        if told is not None and told.si_signo == signal.SIGTERM and told.si_pid == parent.pid:
            break
    os._exit(0)  # what a worker that its loader ends does


class ShieldedLoaders:
    """Shields the workers that loaders start from now on, until `release`.

    Args:
        loaders: Data loaders with a `worker_init_fn`, which is changed.
        signals: What their workers ignore.
    """

    def __init__(self, loaders: Iterable[Any], signals: Iterable[int]) -> None:
        self._before: list[tuple[Any, Any]] = []
        for loader in loaders:
            if not is_shielded(loader):
                self._before.append((loader, loader.worker_init_fn))
                loader.worker_init_fn = WorkerShield(signals, loader.worker_init_fn)

    def release(self) -> None:
        """Give the loaders their own `worker_init_fn` back, unless somebody has set another one."""
        for loader, own in self._before:
            if is_shielded(loader):
                loader.worker_init_fn = own
        self._before.clear()


def has_workers(data: object) -> bool:
    """Return whether data is a loader that starts worker processes."""
    return hasattr(data, "worker_init_fn") and bool(getattr(data, "num_workers", 0))


def is_shielded(loader: Any) -> bool:
    """Return whether the workers of a loader are shielded."""
    return isinstance(loader.worker_init_fn, WorkerShield)
