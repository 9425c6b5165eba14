"""Writing in the background: one payload at a time, by a thread that nobody waits for longer than was said.

The thread is a daemon, which Python does not wait for at its end: a disk that hangs must not keep the process. So what
is being written is waited for here when the program ends, and what has gone wrong is told then at the latest.
"""

from __future__ import annotations

import atexit
import errno
import logging
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLong
from multiprocessing.util import Finalize
from typing import Any, Literal

from camshaft.engine import ArgumentError, ArgumentTypeError
from camshaft.handlers._number import is_number
from camshaft.handlers.checkpoint._errors import CheckpointWriteError
from camshaft.handlers.checkpoint.storage._snapshot import Snapshot, Snapshots

WhenBusy = Literal["wait", "skip"]
_logger = logging.getLogger("camshaft.handlers.checkpoint")


class Saving:
    """A save that goes on in the background.

    Attributes:
        name: What is saved.
        done: Is done when the save is, well or badly.
        is_given_up: Whether nobody waits for it any more. Then it ends without a trace where it still can.
        is_followed: Whether somebody is going to ask for its result, and removes nothing before.

    Args:
        name: See above.
        timeout_s: How long to wait for it, in seconds.
        afterwards: Called by who asks for the result, if the save went well.
    """

    def __init__(self, name: str, timeout_s: float, afterwards: Callable[[], object]) -> None:
        self.done: Future[None] = Future()
        self.is_given_up = False
        self.is_followed = False
        self.name = name
        self._timeout_s = timeout_s
        self._afterwards: Callable[[], object] | None = afterwards
        self._process = os.getpid()
        self._problem = (0, "")

    @property
    def is_elsewhere(self) -> bool:
        """Whether this is a forked process, in which nothing is being saved."""
        return os.getpid() != self._process

    def write(self, snapshot: Snapshot, write: Callable[[Any, Saving | None], None]) -> None:
        """Write a snapshot, in a thread of its own."""
        try:
            write(snapshot.payload(), self)
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            self.done.set_exception(error)
        else:
            self.done.set_result(None)

    def wait(self, limit_s: float | None = None) -> None:
        """Wait until the save is over, or given up, which it is when that takes too long.

        Args:
            limit_s: How long to wait, in seconds; None for the usual time.
        """
        limit_s = self._timeout_s if limit_s is None else limit_s
        if not self.is_given_up and not self.is_elsewhere and not _is_done_in_time(self.done, limit_s):
            self.give_up(errno.ETIMEDOUT, f"it is still being written after {limit_s:g} s")

    def wait_at_exit(self, waited_s: float) -> None:
        """Wait for the save when the program ends; a second Ctrl-C gives it up.

        Args:
            waited_s: How long others have been waited for.

        Raises:
            CheckpointWriteError: it has failed, or is not over in time.
        """
        if not self.done.done():
            _logger.warning("%s is being written; Ctrl-C gives it up", self.name)
        try:
            self.wait(max(0.0, self._timeout_s - waited_s))
        except KeyboardInterrupt:
            self.give_up()
        self.result()

    def result(self) -> None:
        """Tell how the save went, after `wait`.

        Raises:
            CheckpointWriteError: it has failed, or was given up.
        """
        if self.is_elsewhere:
            return
        _untold.discard(self)
        if not self.done.done():
            raise self._error()
        error = self.done.exception(0)
        if error is not None:
            raise error
        afterwards, self._afterwards = self._afterwards, None
        if afterwards is not None:
            afterwards()

    def wait_for_memory(self) -> None:
        """Wait until nothing is read from the snapshot any more: one that was given up may go on for a while.

        Raises:
            CheckpointWriteError: that takes too long.
        """
        if not _is_done_in_time(self.done, self._timeout_s):
            raise self._error()

    def give_up(self, number: int = errno.ECANCELED, problem: str = "it was given up while it was written") -> None:
        """Let nobody wait for the save. Where it still can it ends without a trace.

        Args:
            number: Of the error that whoever asks for the result gets.
            problem: Its text.
        """
        self._problem, self.is_given_up = (number, problem), True

    def raise_if_given_up(self) -> None:
        """Raise in the thread that writes, if nobody waits for it: nobody would know of the file."""
        if self.is_given_up:
            raise self._error()

    @property
    def is_told(self) -> bool:
        """Whether anybody has asked for the result."""
        return self not in _untold

    def _error(self) -> CheckpointWriteError:
        number, problem = self._problem
        return CheckpointWriteError(number, f"could not be written: {problem}", self.name)


def _is_done_in_time(done: Future[None], limit_s: float) -> bool:
    try:
        done.exception(limit_s)
    except WaitedTooLong:
        return False
    return True


class Background:
    """Saves snapshots of payloads in the background, at most one at a time. A copy of it is idle.

    Args:
        options: For `torch.save`.
        when_busy: What to do about a save that is asked for while one goes on: ``"wait"``, or ``"skip"`` the new one.
        timeout_s: How long to wait for a save at the most, in seconds.

    Raises:
        ArgumentError: `when_busy` is something else, or `timeout_s` is not above 0.
        ArgumentTypeError: `timeout_s` is no number.
    """

    def __init__(self, options: Mapping[str, Any], when_busy: WhenBusy, timeout_s: float) -> None:
        if when_busy not in ("wait", "skip"):
            raise ArgumentError(f"`when_busy` must be 'wait' or 'skip', got {when_busy!r}")
        if not is_number(timeout_s):
            raise ArgumentTypeError(f"`timeout_s` must be a number of seconds, got {timeout_s!r}")
        if not timeout_s > 0:
            raise ArgumentError(f"`timeout_s` must be above 0, got {timeout_s!r}")
        self.when_busy = when_busy
        self.timeout_s = timeout_s
        self._options = options
        self._snapshots = Snapshots(options)
        self._saving: Saving | None = None
        self._turn = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Background, (self._options, self.when_busy, self.timeout_s)

    def present(self) -> Saving | None:
        """Return the save that goes on, or whose result nobody has asked for; None without one."""
        saving = self._saving
        if saving is not None and saving.is_elsewhere:
            self._saving, self._snapshots, self._turn = None, Snapshots(self._options), threading.RLock()
        return self._saving

    def wait(self) -> None:
        """Wait until no save goes on.

        Raises:
            CheckpointWriteError: the last one has failed, or is not over in time.
        """
        saving = self.present()
        if saving is not None:
            saving.wait()
            if not saving.is_told:
                saving.result()
            saving.wait_for_memory()

    def wait_for_room(self) -> None:
        """Wait until a save could begin; how the one before went is told to those who ask for it."""
        saving = self.present()
        if saving is not None:
            saving.wait()

    def wait_for_memory(self) -> None:
        """Wait until nothing is read any more from what was copied for the save before.

        Raises:
            CheckpointWriteError: that takes too long.
        """
        saving = self.present()
        if saving is not None:
            saving.wait_for_memory()

    def start(
        self,
        payload: Any,
        write: Callable[[Any, Saving | None], None],
        name: str,
        afterwards: Callable[[], object],
    ) -> None:
        """Take a snapshot, and write it in the background. A save that goes on is waited for first.

        Args:
            payload: What to save.
            write: Saves a payload; called in another thread.
            name: What it is saved as.
            afterwards: Called by who asks for the result, if it went well.

        Raises:
            CheckpointWriteError: the save before has failed, or is not over in time.
        """
        self.wait_for_room()
        with self._turn:
            before = self.present()
            if before is not None and before.is_followed:
                before.wait_for_memory()  # its own error comes out where it is followed
            else:
                self.wait()
            snapshot = self._snapshots.take(payload)
            saving = self._saving = Saving(name, self.timeout_s, afterwards)
            thread = threading.Thread(
                target=saving.write, args=(snapshot, write), name="camshaft-checkpoint", daemon=True
            )
            _untold.add(saving)
            if _waited_at_exit_of == os.getpid():  # nobody would wait for a thread any more
                saving.write(snapshot, write)
                saving.result()
                return
            _watch_exit_of_child()
            try:
                thread.start()
            except BaseException as error:
                saving.done.set_exception(error)
                raise


_untold: set[Saving] = set()  # whose result nobody knows
_watched_child = _waited_at_exit_of = 0  # processes


def give_up_all() -> None:
    """Let nobody wait for any save that goes on: the process is to end at once."""
    for saving in list(_untold):
        saving.give_up()


def _watch_exit_of_child() -> None:
    """Wait at the exit of a process that `multiprocessing` has forked: it leaves without `atexit`."""
    global _watched_child  # noqa: PLW0603 - there is one exit of a process
    if multiprocessing.parent_process() is not None and _watched_child != os.getpid():
        _watched_child = os.getpid()
        Finalize(None, _wait_at_exit, exitpriority=0)


def _wait_at_exit() -> None:
    """Wait for what is being saved when the program ends; end it with status 1 if a save was lost and nobody told."""
    global _waited_at_exit_of  # noqa: PLW0603 - there is one exit of a process
    _waited_at_exit_of = os.getpid()
    begun, lost = time.monotonic(), 0
    for saving in list(_untold):
        if saving.is_given_up:
            continue
        try:
            saving.wait_at_exit(time.monotonic() - begun)
        except BaseException:  # noqa: BLE001 - what it is, is printed
            traceback.print_exc()
            lost += 1
    if lost:
        # An exception has no effect on the exit status any more.
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(1)


# As early as possible, so that functions which save at the exit are called before.
atexit.register(_wait_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_untold.clear)
