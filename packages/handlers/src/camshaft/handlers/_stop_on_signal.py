"""Stop a run with a checkpoint when the machine is taken away, or on Ctrl-C."""

from __future__ import annotations

import _thread
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning, Events, RunningError, ranks
from camshaft.handlers._number import is_number
from camshaft.handlers._signal_handlers import SignalHandlers, name_of, require_main_thread, send_to_main_thread
from camshaft.handlers._worker_shield import (
    ShieldedLoaders,
    has_workers,
    is_shielded,
    loader_inside,
    unshielded_children,
)
from camshaft.handlers.checkpoint.storage._background import give_up_all

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))
_STATUS_OF_SIGNALS = 128  # shells add the number of the signal that has ended a process


class StopOnSignal:
    """Makes a signal stop a run at its next safe point, with a checkpoint and the exit status that belongs to it.

    Use it as a context manager around `run`. The first signal lets the iteration end, calls `save`, and ends the run as
    `Engine.terminate` does. At the end of the block SystemExit is raised, with 128 and the number of the signal: 143
    for SIGTERM, 130 for SIGINT (Ctrl-C), 138 for SIGUSR1.

    A second signal is immediate: it raises SystemExit, or KeyboardInterrupt for SIGINT, wherever the run is. A save
    that this finds leaves no trace or is completed, and the last checkpoint is there. The same happens when the next
    safe point is more than `grace_s` away, in a long evaluation, for example. A signal outside a run ends the block at
    once. If the run fails after a signal, nothing is saved, and its own exception comes out.

    Where several processes share their requests, a signal to one of them stops all of them at the same iteration, each
    with the exit status.

    A run that begins in the block after the stop ends before its first batch. If the program ends with status 0 after a
    stop, the status of the signal takes its place.

    Signals that the process ignores stay ignored, as under `nohup`. Afterwards all signals do what they did before.

    Attributes:
        engine: The engine that is stopped.
        signal_number: The signal that has come; None before.

    Args:
        engine: The engine whose `run` is called in the block; of nested engines the outermost.
        save: ``f(engine)``, mostly a `Checkpoint`; None saves nothing.
        signals: The signals to heed.
        loaders: Data loaders with worker processes, for evaluation too; where data has loaders inside, those. A signal
            to all processes of the job does not end their workers, which are shielded by the loader's
            `worker_init_fn` and `multiprocessing_context` during the block. Workers that are running when the block
            begins are not.
        grace_s: How long to wait for a safe point, in seconds; None for as long as it takes.

    Raises:
        ArgumentTypeError: an argument is of the wrong kind.
        ArgumentError: `grace_s` is negative, or a signal cannot be handled.
        RunningError: the block is entered, or the engine runs, in another thread than the main one, where Python
            handles no signals; or the block is entered again inside itself.
        ArgumentError: the engine has such a block around it already.

    Examples:
        >>> import os
        >>> trainer = Engine(lambda engine, batch: os.kill(os.getpid(), signal.SIGTERM) if batch == 3 else None)
        >>> def save(engine):
        ...     print("saved after iteration", engine.state.iteration)
        >>> try:
        ...     with StopOnSignal(trainer, save):
        ...         state = trainer.run(range(10))
        ... except SystemExit as leaving:
        ...     print("exit status", leaving.code)
        saved after iteration 4
        exit status 143
    """

    def __init__(
        self,
        engine: Engine[Any, Any],
        save: Callable[[Engine[Any, Any]], object] | None = None,
        *,
        signals: Iterable[int] = _SIGNALS,
        loaders: Iterable[Any] = (),
        grace_s: float | None = 30.0,
    ) -> None:
        if not isinstance(engine, Engine):
            raise ArgumentTypeError(f"`engine` must be an Engine, got {engine!r}")
        if save is not None and not callable(save):
            raise ArgumentTypeError(f"`save` must be a function of the engine, such as a Checkpoint, got {save!r}")
        self.engine = engine
        self.signal_number: int | None = None
        self._save = save
        self._loaders = _require_loaders(loaders)
        self._handlers = SignalHandlers(_require_signals(signals), self._handle)
        self._grace = _Grace(_require_grace(grace_s))
        self._is_entered = self._has_stopped = self._is_late = False

    # ------------------------------------------------------------------ the block

    def __enter__(self) -> Self:
        """Heed the signals from now on."""
        if self._is_entered:
            raise RunningError("this StopOnSignal is in use already; make another one for another run")
        require_main_thread("a StopOnSignal must be entered")
        if unshielded_children() and any(getattr(loader, "persistent_workers", False) for loader in self._loaders):
            _warn_of_workers("a loader keeps its workers, and there are processes before the block", _BEGIN)
        with ExitStack() as undo:
            for number in self._handlers.signals:
                self.engine.add_request(_request(number), partial(self._stop, number))
                undo.callback(self.engine.remove_request, _request(number))
            undo.callback(self.engine.add_event_handler(Events.STARTED, self._look_at_run).remove)
            undo.callback(ShieldedLoaders(self._loaders, self._handlers.signals).release)
            self._has_stopped, self._is_late, self.signal_number = False, False, None
            undo.callback(self._handlers.give_back)
            self._handlers.take()
            self._undo, self._is_entered = undo.pop_all(), True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Let the signals do what they did before; raise SystemExit if one has come.

        Raises:
            SystemExit: a signal has stopped the run.
            RunningError: the block was not entered.
        """
        if not self._is_entered:
            raise RunningError("this StopOnSignal was not entered; use it with `with`")
        try:
            if error is None and self.signal_number is not None and ranks().size == 1:
                self._stop(self.signal_number)  # where it came too late for a safe point of the run
        finally:
            self._give_back()
        if self._is_late:
            self._log("no safe point came within %s s of %s", self._grace.seconds, name_of(self.signal_number or 0))
        # A program that says that it is done does not know of the signal.
        is_done = error is None or (isinstance(error, SystemExit) and error.code in (None, 0))
        if is_done and self.signal_number is not None:
            raise SystemExit(_STATUS_OF_SIGNALS + self.signal_number)

    def _give_back(self) -> None:
        self._is_entered = False
        self._grace.end()
        self._undo.close()

    def _look_at_run(self, engine: Engine[Any, Any]) -> None:
        """Refuse a run that could not be stopped; end one that begins too late; say if its workers could not go on."""
        require_main_thread("an engine that is stopped by signals must run")
        data = engine.state.dataloader
        if self._has_stopped:
            engine.terminate()
        elif has_workers(data) and not is_shielded(data):
            _warn_of_workers("the run's data loader has workers", _GIVE)
        elif isinstance(data, Iterator) and unshielded_children():
            _warn_of_workers("the run's data is an iterator, and there are processes that may fetch for it", _BEGIN)
        else:
            self._watch_fetch(engine)

    def _watch_fetch(self, engine: Engine[Any, Any]) -> None:
        """Say if the first fetch starts workers that could not go on, as data may that has loaders inside."""
        before = unshielded_children()

        def look() -> None:
            handle.remove()
            if unshielded_children() - before:
                _warn_of_workers("the first batch has started processes", _GIVE)

        handle = engine.add_event_handler(Events.ITERATION_STARTED, look)

    # ------------------------------------------------------------------ a signal

    def _handle(self, number: int) -> None:
        # This comes between any two instructions, of code that holds a lock for example: nothing here may wait for
        # one, or run code of others, such as what a logger calls.
        is_late = self._grace.take_notice()
        if is_late and self._has_stopped:  # the safe point has come at this very moment
            return
        if self.signal_number is not None or not self.engine.is_running:
            self._leave(number, is_late=is_late)
        self.signal_number = number
        self.engine.request(_request(number))
        self._grace.begin(number)

    def _stop(self, number: int) -> None:
        """Save, and end the run; at a safe point, of all processes where several share their requests."""
        if self._has_stopped:
            return
        if self.engine.is_running and self.engine.last_event_name is Events.EXCEPTION_RAISED:
            return  # the run ends by itself, what there is to save may be half done, and to terminate would hide why
        self._has_stopped, self.signal_number = True, number
        self._grace.end()
        if self.engine.is_running:
            self.engine.terminate()  # first, so that what is saved now is known to be the last
        if self._save is not None:
            self._save(self.engine)
        self._log("stopped by %s after iteration %s", name_of(number), self.engine.state.iteration)

    def _log(self, text: str, *values: object) -> None:
        self.engine.logger.warning(text, *values)

    def _leave(self, number: int, *, is_late: bool) -> None:
        """Leave the run right here. Where Python drops what a handler raises, it still stops at its safe point.

        Raises:
            KeyboardInterrupt: the signal is that of Ctrl-C.
            SystemExit: it is another one, or no safe point has come in time.
        """
        self.signal_number, self._is_late = number, is_late
        self._grace.end()
        give_up_all()  # what is being written in the background
        if number == signal.SIGINT and not is_late:
            raise KeyboardInterrupt
        raise SystemExit(_STATUS_OF_SIGNALS + number)


class _Grace:
    """Sends a signal once more when no safe point has come in time.

    It begins in a signal handler, which may have interrupted code of `threading` that holds a lock. So it uses nothing
    of that module but bare locks and threads.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._going: _thread.LockType | None = None
        self._is_over = False

    def begin(self, number: int) -> None:
        self._is_over = False
        if self.seconds is not None:
            self._going = _thread.allocate_lock()
            self._going.acquire()
            _thread.start_new_thread(self._wait, (self._going, number))

    def end(self) -> None:
        going, self._going = self._going, None
        if going is not None:
            going.release()

    def take_notice(self) -> bool:
        """Return whether the signal that has come says that the time is over."""
        is_over, self._is_over = self._is_over, False
        return is_over

    def _wait(self, going: _thread.LockType, number: int) -> None:
        if not going.acquire(timeout=min(self.seconds or 0.0, _thread.TIMEOUT_MAX)):
            self._is_over = True
            send_to_main_thread(number)


_GIVE = "give StopOnSignal(..., loaders=[...]), with the loaders inside where the data is made of several"
_BEGIN = "begin the block before the first `iter` of a loader"


def _warn_of_workers(what: str, remedy: str) -> None:
    text = f"{what}, which a signal to all processes would end before the checkpoint is written; {remedy}"
    warnings.warn(text, EngineWarning, stacklevel=3)


def _request(number: int) -> str:
    """Return what engines know the request under: the same in all processes."""
    return f"stop on {name_of(number)}"


def _require_signals(signals: Iterable[int]) -> tuple[int, ...]:
    cannot = {getattr(signal, name, None) for name in ("SIGKILL", "SIGSTOP")}
    numbers = tuple(signals)
    for number in numbers:
        if number not in signal.valid_signals() or number in cannot:
            raise ArgumentError(f"`signals` must be signals that a process can handle, got {number!r}")
    return tuple(dict.fromkeys(map(int, numbers)))


def _require_loaders(loaders: Iterable[Any]) -> tuple[Any, ...]:
    if hasattr(loaders, "worker_init_fn"):
        raise ArgumentTypeError(f"`loaders` must be a list of data loaders, got {loaders!r}; put it into a list")
    return tuple(map(loader_inside, loaders))


def _require_grace(grace_s: float | None) -> float | None:
    if grace_s is None:
        return None
    if not is_number(grace_s):
        raise ArgumentTypeError(f"`grace_s` must be a number of seconds or None, got {grace_s!r}")
    if not grace_s >= 0:
        raise ArgumentError(f"`grace_s` must be 0 or more, got {grace_s!r}; None waits for as long as it takes")
    return grace_s
