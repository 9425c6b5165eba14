"""Workers of data loaders that a signal to all processes of a job does not end.

A worker is shielded from its first moment: its process is started with the signals blocked, and lets them come once it
ignores them. So `ShieldedLoaders` changes two things of a loader: the context that starts the workers, and what they
call first.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from types import FrameType
from typing import Any

from camshaft.engine import ArgumentTypeError
from camshaft.handlers._signal_handlers import do_as_ever

_LOOK_S = 0.25  # how often a worker looks whether the process that it works for is there
# Ends a shielded worker, which ignores SIGTERM: who sent a signal cannot be told in Python where it is not blocked, and
# the programs that a worker starts would inherit that it is. Hardly anybody uses the signals for real time.
_END = signal.SIGRTMIN + 9 if hasattr(signal, "SIGRTMIN") and hasattr(signal, "sigtimedwait") else None
_shielded: weakref.WeakSet[BaseProcess] = weakref.WeakSet()


class WorkerShield:
    """A `worker_init_fn` for the workers of a data loader, which makes them ignore signals.

    A batch scheduler or a terminal sends a signal to all processes of a job. Workers that end at once leave the run
    without its next batch. A shielded worker ends when its loader ends it, or when the process that it works for is
    gone. The programs that it starts are not shielded.

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
        if _END is not None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {_END})  # so that the thread takes it
            threading.Thread(target=_obey_parent, args=(_END,), name="camshaft-shield", daemon=True).start()
            self._ignore()
        elif hasattr(os, "setpgid"):  # macOS: at least what is sent to the group does not reach it
            with suppress(PermissionError):  # the worker leads a session of its own
                os.setpgid(0, 0)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self.signals)
        if self.then is not None:
            self.then(worker_id)

    def _ignore(self) -> None:
        # Not SIG_IGN, which programs that the worker starts would inherit.
        worker = os.getpid()

        def drop(number: int, frame: FrameType | None) -> None:
            if os.getpid() != worker:  # a fork of the worker
                do_as_ever(number, frame)

        signal.set_wakeup_fd(-1)  # of an event loop of the process that the worker was forked from
        for number in self.signals:
            signal.signal(number, drop)
            signal.siginterrupt(number, False)


def _obey_parent(end: int) -> None:
    """End this process when it is told to, or when its parent is gone."""
    parent = multiprocessing.parent_process()
    # Forks hold what tells that their parent is gone open for each other. A fork server may end by itself.
    is_forked = parent is not None and os.getppid() == parent.pid
    while parent is not None and parent.is_alive() and (not is_forked or os.getppid() == parent.pid):
        if signal.sigtimedwait({end}, _LOOK_S) is not None:
            break
    os._exit(0)  # what a worker that its loader ends does


class ShieldedContext(BaseContext):
    """Starts processes with signals blocked, and ends them in the way that a `WorkerShield` leaves open.

    Args:
        inner: What makes the processes; None for the default of `multiprocessing`.
        signals: What to block.
    """

    def __init__(self, inner: BaseContext | None, signals: Iterable[int]) -> None:
        self._inner = inner
        self._signals = frozenset(signals)

    def get_context(self, method: str | None = None) -> Any:
        """Return the inner context, which makes everything but processes."""
        inner = multiprocessing if self._inner is None else self._inner
        return inner.get_context(method)

    def get_start_method(self, allow_none: bool = False) -> str:
        """Return the start method of the inner context."""
        inner = multiprocessing if self._inner is None else self._inner
        return str(inner.get_start_method(allow_none))

    def Process(self, *args: Any, **options: Any) -> BaseProcess:  # noqa: N802 - its name
        """Return a process, which is going to be shielded.

        Args:
            args: As for a process of the inner context.
            options: In the same way.
        """
        process: Any = self.get_context().Process(*args, **options)
        start = process.start

        def start_shielded() -> None:
            del process.start  # a process that is spawned is pickled
            with self._blocked():
                start()
            _shielded.add(process)
            if _END is not None:
                process.terminate = lambda: _end(process)
                _watch_exit()

        process.start = start_shielded
        return process  # type: ignore[no-any-return]  # it is what the context makes

    @contextmanager
    def _blocked(self) -> Iterator[None]:
        if not hasattr(signal, "pthread_sigmask") or self.get_start_method() == "forkserver":
            yield  # a server that is started here would block them for ever
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unshielded_children() -> set[BaseProcess]:
    """Return the processes of this one that a signal to all processes of the job would end."""
    return {process for process in multiprocessing.active_children() if process not in _shielded}


def _end(process: BaseProcess) -> None:
    if _END is not None and process.pid is not None and process.is_alive():
        with suppress(ProcessLookupError):
            os.kill(process.pid, _END)


_watches_exit_of = 0  # a process; a fork of it has to begin anew


def _watch_exit() -> None:
    """End shielded workers when this process exits: `multiprocessing` sends SIGTERM to them, and waits."""
    global _watches_exit_of  # noqa: PLW0603 - there is one exit of a process
    if _watches_exit_of != os.getpid():
        _watches_exit_of = os.getpid()
        Finalize(None, _end_all, exitpriority=10)


def _end_all() -> None:
    for process in multiprocessing.active_children():
        if process in _shielded:
            _end(process)


class ShieldedLoaders:
    """Shields the workers that loaders start from now on, until `release`.

    Args:
        loaders: Data loaders as `loader_inside` returns them; two of their attributes are changed.
        signals: What their workers ignore.
    """

    def __init__(self, loaders: Iterable[Any], signals: Iterable[int]) -> None:
        self._before: list[tuple[Any, Any, Any]] = []
        for loader in loaders:
            if not is_shielded(loader):
                own, context = loader.worker_init_fn, loader.multiprocessing_context
                self._before.append((loader, own, context))
                loader.worker_init_fn = WorkerShield(signals, own)
                if loader.num_workers:  # else it takes no context
                    loader.multiprocessing_context = ShieldedContext(context, signals)

    def release(self) -> None:
        """Give the loaders back what was their own, unless somebody has set something else."""
        for loader, own, context in self._before:
            if is_shielded(loader):
                loader.worker_init_fn = own
            if isinstance(loader.multiprocessing_context, ShieldedContext):
                loader.multiprocessing_context = context
        self._before.clear()


def loader_inside(loader: Any) -> Any:
    """Return what starts the workers of a loader: itself, or the loader that it wraps.

    A wrapper shows the attributes of what it wraps. To set them on the wrapper would change nothing.

    Raises:
        ArgumentTypeError: there is no such loader, or more than one.
    """
    own = getattr(loader, "__dict__", {})
    if "worker_init_fn" in own and hasattr(loader, "multiprocessing_context"):
        return loader
    inside = [each for each in own.values() if each is not loader and _looks_like_loader(each)]
    if _looks_like_loader(loader) and len(inside) == 1:
        found = loader_inside(inside[0])
        if _shows_attributes_of(loader, found):
            return found
    raise ArgumentTypeError(
        f"`loaders` must be data loaders with a `worker_init_fn` and a `multiprocessing_context`, got {loader!r}; "
        "of data that has loaders inside, give those"
    )


def _looks_like_loader(data: object) -> bool:
    return hasattr(data, "worker_init_fn") and hasattr(data, "multiprocessing_context")


def _shows_attributes_of(wrapper: Any, loader: Any) -> bool:
    own, loader.worker_init_fn = loader.worker_init_fn, WorkerShield(())
    try:
        return wrapper.worker_init_fn is loader.worker_init_fn
    finally:
        loader.worker_init_fn = own


def has_workers(data: object) -> bool:
    """Return whether data is a loader that starts worker processes."""
    return hasattr(data, "worker_init_fn") and bool(getattr(data, "num_workers", 0))


def is_shielded(loader: Any) -> bool:
    """Return whether the workers of a loader are shielded."""
    return isinstance(loader.worker_init_fn, WorkerShield)
