"""Stop a run with a checkpoint when the machine is taken away, or on Ctrl-C."""

from __future__ import annotations

import signal
import threading
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

from camshaft.engine import ArgumentError, ArgumentTypeError, Engine, EngineWarning, Events, RunningError, ranks
from camshaft.handlers._number import is_number
from camshaft.handlers._signal_handlers import SignalHandlers, name_of, require_main_thread, send_to_main_thread
from camshaft.handlers._worker_shield import ShieldedLoaders, has_workers, is_shielded
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

    Signals that the process ignores stay ignored, as under `nohup`. Afterwards all signals do what they did before.

    Attributes:
        engine: The engine that is stopped.
        signal_number: The signal that has come; None before.

    Args:
        engine: The engine whose `run` is called in the block; of nested engines the outermost.
        save: ``f(engine)``, mostly a `Checkpoint`; None saves nothing.
        signals: The signals to heed.
        loaders: Data loaders with worker processes, for evaluation too. A signal to all processes of the job does not
            end their workers, which are shielded by the loader's `worker_init_fn` during the block. Workers that
            are running when the block begins are not.
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
        self._grace = _Grace(_require_grace(grace_s), engine)
        self._is_entered = self._has_stopped = False

    # ------------------------------------------------------------------ the block

    def __enter__(self) -> Self:
        """Heed the signals from now on."""
        if self._is_entered:
            raise RunningError("this StopOnSignal is in use already; make another one for another run")
        require_main_thread("a StopOnSignal must be entered")
        with ExitStack() as undo:
            for number in self._handlers.signals:
                self.engine.add_request(_request(number), partial(self._stop, number))
                undo.callback(self.engine.remove_request, _request(number))
            undo.callback(self.engine.add_event_handler(Events.STARTED, self._look_at_run).remove)
            undo.callback(ShieldedLoaders(self._loaders, self._handlers.signals).release)
            self._has_stopped, self.signal_number = False, None
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
        """
        try:
            if error is None and self.signal_number is not None and ranks().size == 1:
                self._stop(self.signal_number)  # where it came too late for a safe point of the run
        finally:
            self._give_back()
        if error is None and self.signal_number is not None:
            raise SystemExit(_STATUS_OF_SIGNALS + self.signal_number)

    def _give_back(self) -> None:
        self._is_entered = False
        self._grace.end()
        self._undo.close()

    def _look_at_run(self, engine: Engine[Any, Any]) -> None:
        """Refuse a run that could not be stopped; say if its workers could not go on."""
        require_main_thread("an engine that is stopped by signals must run")
        data = engine.state.dataloader
        if has_workers(data) and not is_shielded(data):
            warnings.warn(
                "the run's data loader has workers, which a signal to all processes would end before the checkpoint is "
                "written; give StopOnSignal(..., loaders=[...])",
                EngineWarning,
                stacklevel=2,
            )

    # ------------------------------------------------------------------ a signal

    def _handle(self, number: int) -> None:
        is_late = self._grace.take_notice()
        if is_late and self._has_stopped:  # the safe point has come at this very moment
            return
        if self.signal_number is not None or not self.engine.is_running:
            self._leave(number, is_late=is_late)
        self.signal_number = number
        self.engine.logger.warning("%s: the run stops at its next safe point; once more ends it now", name_of(number))
        self._grace.begin(number)
        self.engine.request(_request(number))

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

    def _leave(self, number: int, *, is_late: bool) -> None:
        """Leave the run right here. Where Python drops what a handler raises, it still stops at its safe point.

        Raises:
            KeyboardInterrupt: the signal is that of Ctrl-C.
            SystemExit: it is another one, or no safe point has come in time.
        """
        self.signal_number = number
        self._grace.end()
        give_up_all()  # what is being written in the background
        if number == signal.SIGINT and not is_late:
            raise KeyboardInterrupt
        raise SystemExit(_STATUS_OF_SIGNALS + number)


class _Grace:
    """Sends a signal once more when no safe point has come in time."""

    def __init__(self, seconds: float | None, engine: Engine[Any, Any]) -> None:
        self._seconds = seconds
        self._engine = engine
        self._timer: threading.Timer | None = None
        self._is_over = False

    def begin(self, number: int) -> None:
        self._is_over = False
        if self._seconds is not None:
            self._timer = threading.Timer(self._seconds, self._end_late, (number,))
            self._timer.daemon = True
            self._timer.start()

    def end(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def take_notice(self) -> bool:
        """Return whether the signal that has come says that the time is over."""
        is_over, self._is_over = self._is_over, False
        return is_over

    def _end_late(self, number: int) -> None:
        self._engine.logger.warning("no safe point came within %s s of %s", self._seconds, name_of(number))
        self._is_over = True
        send_to_main_thread(number)


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
    found = tuple(loaders)
    for loader in found:
        if not hasattr(loader, "worker_init_fn"):
            raise ArgumentTypeError(f"`loaders` must be data loaders with a `worker_init_fn`, got {loader!r}")
    return found


def _require_grace(grace_s: float | None) -> float | None:
    if grace_s is None:
        return None
    if not is_number(grace_s):
        raise ArgumentTypeError(f"`grace_s` must be a number of seconds or None, got {grace_s!r}")
    if not grace_s >= 0:
        raise ArgumentError(f"`grace_s` must be 0 or more, got {grace_s!r}; None waits for as long as it takes")
    return grace_s
