"""The handlers of some signals, taken over for a while."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from camshaft.engine import EngineWarning, RunningError


class SignalHandlers:
    """Lets a function handle signals, from `take` to `give_back`.

    A signal that comes while handlers are exchanged is handled afterwards, so that none is left exchanged by half. A
    process that was forked meanwhile does what it would have done.

    Args:
        signals: The signals. One that is ignored stays ignored.
        handle: Called in the main thread with the number of a signal.
    """

    def __init__(self, signals: Iterable[int], handle: Callable[[int], None]) -> None:
        self.signals = tuple(signals)
        self._handle = handle
        self._before: dict[int, Any] = {}
        self._waiting: list[int] | None = None  # those that have come while handlers are exchanged
        self._process = 0
        self._is_in_use = False

    def take(self) -> None:
        """Handle the signals from now on; in the main thread."""
        self._process, self._waiting = os.getpid(), []
        _in_use.append(self)
        self._before, self._is_in_use = {}, True
        for number in self.signals:
            before = signal.getsignal(number)
            if before is None:
                text = f"{name_of(number)} has a handler that is not Python's and cannot be put back: it is left alone"
                warnings.warn(text, EngineWarning, stacklevel=3)
            elif before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, self._call)
        self._raise_waiting()

    def give_back(self) -> None:
        """Let the signals do what they did before, unless somebody has set another handler meanwhile."""
        self._waiting = [] if self._waiting is None else self._waiting
        for number, before in self._before.items():
            if signal.getsignal(number) == self._call:
                signal.signal(number, _handler_in_use(number, before))
        self._is_in_use = False
        if self in _in_use:
            _in_use.remove(self)
        self._raise_waiting()

    def before(self, number: int, own: Any) -> Any:
        """Return what handles a signal now that these may have been given back; else `own`."""
        return own if self._is_in_use else _handler_in_use(number, self._before[number])

    def _raise_waiting(self) -> None:
        waiting, self._waiting = self._waiting or (), None
        for number in waiting:
            signal.raise_signal(number)

    def _call(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            do_as_ever(number, frame)
        elif self._waiting is not None:
            self._waiting.append(number)
        else:
            self._handle(number)


_in_use: list[SignalHandlers] = []
_forking = threading.local()


def _before_fork() -> None:
    """Let signals wait: Python drops those that come in the first moment of a fork which has handlers for them."""
    signals = {number for handlers in _in_use for number in handlers.signals}
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, signals) if signals else None


def _after_fork() -> None:
    if getattr(_forking, "mask", None) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


if hasattr(os, "register_at_fork") and hasattr(signal, "pthread_sigmask"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def _handler_in_use(number: int, handler: Any) -> Any:
    """Return the handler, or the one before it if it has been given back: blocks may end in any order."""
    owner = getattr(handler, "__self__", None)
    return owner.before(number, handler) if isinstance(owner, SignalHandlers) else handler


def do_as_ever(number: int, frame: FrameType | None) -> None:
    """Do what a signal does in a process that does not handle it."""
    if number == signal.SIGINT:
        signal.default_int_handler(number, frame)
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def name_of(number: int) -> str:
    """Return the name of a signal.

    Examples:
        >>> name_of(15)
        'SIGTERM'
    """
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def require_main_thread(what: str) -> None:
    """Raise if this is not the thread in which Python handles signals.

    Raises:
        RunningError: it is another one.
    """
    current = threading.current_thread()
    if current is not threading.main_thread():
        raise RunningError(f"{what} in the main thread, where Python handles signals; got {current.name!r}")


def send_to_main_thread(number: int) -> None:
    """Let a signal come in the main thread, also if that waits for something."""
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)
