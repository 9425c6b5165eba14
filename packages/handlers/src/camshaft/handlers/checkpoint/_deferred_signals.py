"""Signals during a save: they wait, so that no Ctrl-C finds a save half done.

Python calls the handler of a signal in the main thread, between any two of its instructions, and what the
handler raises (KeyboardInterrupt, mostly) comes up there. What has to be done completely or not at all is
done in a block of `deferred_signals`. A signal that arrives in it is noted. Its handler is called at the end
of the block, or earlier, where the block asks for it because nothing would be lost.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType, TracebackType


class _Waiting:
    """The signals of this process that wait. Only the main thread, which gets them, ever uses it."""

    def __init__(self) -> None:
        self.thread: int | None = None  # in which signals wait at this moment; None when they do not
        self.blocks = 0
        self.arrived: list[int] = []
        self.stand_ins: dict[int, _StandIn] = {}


_waiting = _Waiting()
_NUMBERS = tuple(map(int, signal.valid_signals()))


class _StandIn:
    """Takes the place of a signal's handler while a block runs.

    A signal that comes up at the very moment at which handlers are exchanged may leave it in place. So outside a
    block it does what the handler does, and puts it back.
    """

    def __init__(self, number: int, handler: Callable[[int, FrameType | None], Any]) -> None:
        self.number = number
        self.handler = handler

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        # A process that was forked by another thread of ours, in the middle of a block, is in none itself.
        if _waiting.thread == threading.get_ident():
            if number not in _waiting.arrived:
                _waiting.arrived.append(number)
            return None
        if not _waiting.blocks:
            self.step_aside()
        return self.handler(number, frame)

    def step_aside(self) -> None:
        """Put the handler back, unless somebody has set another one."""
        if signal.getsignal(self.number) is self:
            signal.signal(self.number, self.handler)


class _HandlerRaised(BaseException):
    """Carries what a handler raised out of all blocks: nothing on the way takes it for an error of its own."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class deferred_signals:  # noqa: N801  # reads as what it is used as: with deferred_signals() as signals
    """Let signals wait while a block runs; in other threads than the main one, which gets none, do nothing.

    Every signal waits whose handler is written in Python. Blocks may be nested; the handlers are called when the
    outermost one ends, or the outermost one in a block of `let_through`. What a handler raises then comes up right
    after the block.

    Examples:
        >>> import os, signal
        >>> def interrupted_save():
        ...     with deferred_signals():
        ...         os.kill(os.getpid(), signal.SIGINT)
        ...         print("the save goes on")
        >>> try:
        ...     interrupted_save()
        ... except KeyboardInterrupt:
        ...     print("and is interrupted when it is complete")
        the save goes on
        and is interrupted when it is complete

    Attributes:
        arrived: the signals that wait now, in whichever block.
    """

    def __init__(self) -> None:
        self.arrived: Sequence[int] = _waiting.arrived
        self._is_main = threading.current_thread() is threading.main_thread()
        self._is_inner = False

    def __enter__(self) -> Self:
        if self._is_main:
            thread = threading.get_ident()
            self._is_inner = _waiting.thread == thread
            if _waiting.blocks == 0:
                try:
                    _put_stand_ins()
                except BaseException:  # a handler that is still in place, or the stand-in of one, has raised
                    _put_handlers_back()
                    raise
            # Python calls handlers between two instructions only after calls and jumps: not between these two.
            _waiting.blocks += 1
            _waiting.thread = thread
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._is_main:
            return
        if self._is_inner:
            _waiting.blocks -= 1
            _waiting.thread = threading.get_ident()  # a `let_through` that was interrupted may have left it None
            return
        try:
            _waiting.blocks -= 1
            _waiting.thread = None
            # From here on a signal is not noted any more. Its handler is called, and may raise at any point.
            _put_handlers_back()
        finally:
            _put_handlers_back()  # once more, if that was interrupted
            _call_handlers()
        if isinstance(error, _HandlerRaised):
            raise error.error from None

    def handle(self) -> None:
        """Call the handlers of the signals that have arrived, now; leave the blocks with what one of them raises.

        To be called where the block can be given up without a trace. Signals that arrive meanwhile wait.
        """
        if self._is_main and _waiting.thread is not None:
            while _waiting.arrived:
                number = _waiting.arrived.pop(0)
                try:
                    _waiting.stand_ins[number].handler(number, None)
                except BaseException as error:
                    raise _HandlerRaised(error) from error

    def let_through(self) -> _LetThrough:
        """Return a block in which signals come up as ever: for what may take long, and is not ours."""
        return _LetThrough(self)


class _LetThrough:
    """A block in a block of `deferred_signals`, in which signals do not wait.

    It can be interrupted at any point, also before it says that signals wait again. So whoever is around it says so
    too. A generator would be worse: its end would be made up for when the exception is thrown away.
    """

    def __init__(self, signals: deferred_signals) -> None:
        self._signals = signals
        self._thread: int | None = None

    def __enter__(self) -> None:
        self._signals.handle()
        if self._signals._is_main:  # noqa: SLF001 - the two are one
            self._thread, _waiting.thread = _waiting.thread, None
            _call_handlers()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._signals._is_main:  # noqa: SLF001
            _waiting.thread = self._thread


def _put_stand_ins() -> None:
    for number in _NUMBERS:
        handler = signal.getsignal(number)
        if callable(handler) and not isinstance(handler, _StandIn):
            stand_in = _waiting.stand_ins[number] = _StandIn(number, handler)
            signal.signal(number, stand_in)


def _put_handlers_back() -> None:
    if _waiting.blocks == 0:
        for stand_in in list(_waiting.stand_ins.values()):
            stand_in.step_aside()


def _call_handlers() -> None:
    """Let the handlers have what has arrived, each of them, whichever raises."""
    if _waiting.arrived:
        number = _waiting.arrived[0]
        # No call between these two: a signal that comes now cannot take the place of this one.
        del _waiting.arrived[0]
        try:
            signal.raise_signal(number)  # sent once more, so that Python calls the handler as ever
        finally:
            _call_handlers()
