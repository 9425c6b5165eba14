"""Signals during a save: they wait, so that no Ctrl-C finds a save half done.

Python calls the handler of a signal in the main thread, between any two of its instructions, and what the
handler raises (KeyboardInterrupt, mostly) comes up there. What has to be done completely or not at all is
done in a block of `deferred_signals`. A signal that arrives in it is noted. Its handler is called at the end
of the block, or earlier, where the block asks for it because nothing would be lost.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType, TracebackType


class _Waiting:
    """The signals of this process that wait. Only the main thread, which gets them, ever uses it."""

    def __init__(self) -> None:
        self.thread: int | None = None  # that is in a block; None when none is
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
    outermost one ends. What a handler raises then comes up right after the block.

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
    """

    def __init__(self) -> None:
        self._is_main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Self:
        if self._is_main:
            if _waiting.blocks == 0:
                _put_stand_ins()
                _waiting.thread = threading.get_ident()
            # No handler can raise from here on, until the outermost block ends.
            _waiting.blocks += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_main:
            _waiting.blocks -= 1
            if _waiting.blocks == 0:
                _end()
                if isinstance(error, _HandlerRaised):
                    raise error.error from None

    def handle(self) -> None:
        """Call the handlers of the signals that have arrived, now; leave the blocks with what one of them raises.

        To be called where the block can be given up without a trace. Signals that arrive meanwhile wait.
        """
        if self._is_main and _waiting.blocks:
            while _waiting.arrived:
                number = _waiting.arrived.pop(0)
                try:
                    _waiting.stand_ins[number].handler(number, None)
                except BaseException as error:
                    raise _HandlerRaised(error) from error

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Let signals come up as ever inside a block: for what may take long, and is not ours."""
        if not self._is_main:
            yield
            return
        self.handle()
        before, _waiting.thread = _waiting.thread, None
        try:
            yield
        finally:
            _waiting.thread = before


def _put_stand_ins() -> None:
    for number in _NUMBERS:
        handler = signal.getsignal(number)
        if callable(handler) and not isinstance(handler, _StandIn):
            stand_in = _waiting.stand_ins[number] = _StandIn(number, handler)
            signal.signal(number, stand_in)


def _end() -> None:
    """Put the handlers back, and let them have what has arrived; any of them may raise at any point of this."""
    arrived, _waiting.arrived = list(dict.fromkeys(_waiting.arrived)), []
    _waiting.thread = None
    stand_ins = [stand_in.step_aside for stand_in in _waiting.stand_ins.values()]
    # Sent once more, so that Python calls the handler as ever.
    _call_all([*stand_ins, *(partial(signal.raise_signal, number) for number in arrived)])


def _call_all(steps: Sequence[Callable[[], object]]) -> None:
    """Call all functions, whichever of them raises."""
    if steps:
        try:
            steps[0]()
        finally:
            _call_all(steps[1:])
