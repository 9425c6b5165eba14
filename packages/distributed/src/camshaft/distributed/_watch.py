"""What each process lets the others know of itself, beside the messages that all of them wait for."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from camshaft.distributed._board import Board
from camshaft.distributed._life import can_be_asked_about, is_over, own_life
from camshaft.engine import Engine, Events, Position

PAUSE_S = 0.05  # between two looks for what is waited for
BEAT_S = 1.0  # from one sign of life to the next


Point = str | tuple[Events, Position]


def in_words(point: Point) -> str:
    """Return where a process is. That of a vote is put into words here alone: it is seldom read."""
    if isinstance(point, str):
        return point
    event, position = point
    return f"the vote after {event.name} at epoch {position.epoch}, iteration {position.iteration}"


class Sign(NamedTuple):
    """The last sign of life of a process.

    Attributes:
        rank: which process it is.
        messages: how many it has begun.
        place: where it was, in words.
        at: when, in seconds since 1970 by its own clock; None if it has never been heard of.
        ended_after: the iteration after which its epoch has ended; None if it is not at the end of one.
    """

    rank: int
    messages: int = -1
    place: str = "nowhere"
    at: float | None = None
    ended_after: int | None = None

    def text(self) -> str:
        """Return it in words."""
        if self.at is None:
            return f"rank {self.rank} was never heard of"
        ago = max(0.0, time.time() - self.at)
        return f"rank {self.rank} was last heard of {ago:.1f} s ago, at {self.place}"


class Failure(NamedTuple):
    """What has become of a process.

    Attributes:
        rank: which one it is.
        text: what has happened, in words.
    """

    rank: int
    text: str


class Watch:
    """A thread that gives signs of life, and looks whether the next process is there.

    It ends its own process if that hangs when another one has failed, or does not come any more to where this one waits
    for it: an exception has left its run, or its epoch has ended before.

    Args:
        board: where processes of this attempt leave texts.
        rank, size: of this process.
        timeout_s: a process without a sign of life for this long counts as lost.
        grace_s: how long a process has to end, or to leave its run, once another has.

    Attributes:
        point: where this process is: what it does, in words, or the event and the position of a vote.
        messages: how many it has begun.
        met: how many of them all processes have come to.
        running: returns the engines that all processes run, and that this one is in a run of.
    """

    def __init__(self, board: Board, rank: int, size: int, timeout_s: float, grace_s: float) -> None:
        self.point: Point = "the start"
        self.messages = self.met = 0
        self.running: Callable[[], list[Engine[Any, Any]]] = list
        self._board = board
        self._rank, self._size, self._timeout_s, self._grace_s = rank, size, timeout_s, grace_s
        self._left_at = -1  # the message before an exception has left a run here
        self._stays_since: float | None = None  # where another process does not come any more
        self._end = threading.Event()
        self._beats = 0
        self._neighbour: tuple[str | None, float] = (None, time.monotonic())  # its last sign, and when it came
        self._known: Failure | None = None  # the first
        self._has_failed = False
        self._life: list[str] | None = None  # of the next process
        self._thread = threading.Thread(target=self._watch, name="camshaft-watch", daemon=True)

    @property
    def place(self) -> str:
        """Where this process is, in words."""
        return in_words(self.point)

    def begin(self) -> None:
        """Begin to watch."""
        self._board.write(f"life/{self._rank}", json.dumps(own_life()))
        self.beat()
        self._thread.start()

    def stop(self) -> None:
        """Give no more signs of life, and leave the process alone."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10 * BEAT_S)

    # ------------------------------------------------------------------ what the others are told

    def report_failure(self, reason: str) -> None:
        """Tell the others that this process ends, and why; the first to do so is heard."""
        self._has_failed = True
        self._report(Failure(self._rank, self._own_failure(reason)))
        self._board.write(f"heard/{self._rank}", "yes")

    def leave_run(self, reason: str) -> None:
        """Tell the others that an exception leaves a run here, whatever becomes of it; the first to do so is heard.

        It has failed unless the others leave the run too, or all processes meet again later.
        """
        if self._left_elsewhere() is None:
            self._board.write("left", json.dumps([self._rank, self._own_failure(reason), self.messages]))
        self._left_at = self.messages

    def _own_failure(self, reason: str) -> str:
        return f"rank {self._rank} has failed: {reason} (it had come to {self.place})"

    def _report(self, failure: Failure) -> None:
        self._board.write("failed", json.dumps(failure), first=True)

    def let_others_hear(self, wait_s: float) -> None:
        """Wait until all others know of the failure: for a process that keeps the store, which ends with it."""
        self._board.has([f"heard/{rank}" for rank in range(self._size)], wait_s)

    def wait_for_others(self) -> None:
        """Wait until all have come to the end; no longer if one has failed, or waits for this one elsewhere."""
        self._board.write(f"end/{self._rank}", "")
        ends = [f"end/{rank}" for rank in range(self._size)]
        while not (self._board.has(ends, BEAT_S) or self._board.is_lost or self.failure()):
            if any(self._sign(rank).messages > self.messages for rank in range(self._size)):
                return

    def tell_places(self, what: str) -> list[str]:
        """Return where every process is, each in its own words; all of them have to call this.

        Args:
            what: where this one is.
        """
        self._board.write(f"apart/{self._rank}", what)
        return [self._board.read(f"apart/{each}", 5.0) or "a place that it has not told" for each in range(self._size)]

    # ------------------------------------------------------------------ what is known of the others

    def failure(self, wait_s: float = 0.0) -> str | None:
        """Return which other process has failed or was lost first, and why; None if none is known to have.

        Once known it stays so: the process that keeps the store may go because of it. Of this process it is known if
        the others have ended because an exception has left its run.

        Args:
            wait_s: how long to wait for one to say so.
        """
        self._known = self._known or self._find_failure(wait_s)
        return None if self._known is None else self._known.text

    def _find_failure(self, wait_s: float) -> Failure | None:
        deadline = time.monotonic() + wait_s
        while (text := self._board.read("failed")) is None and not self._board.is_lost and time.monotonic() < deadline:
            self._look_at_next()
            time.sleep(PAUSE_S)
        if text is not None:
            self._board.write(f"heard/{self._rank}", "yes")
            return None if self._has_failed else Failure(*json.loads(text))
        return Failure(0, "rank 0 is gone, and with it the store of all processes") if self._board.is_lost else None

    def _left_elsewhere(self) -> Failure | None:
        """Return the failure of a process whose run an exception has left, if all have not met again since."""
        rank, text, messages = json.loads(self._board.read("left") or '[0, "", -1]')
        return Failure(rank, text) if messages >= self.met else None

    def missing(self) -> str:
        """Return, in words, the last signs of the processes that have begun fewer messages than this one."""
        signs = [self._sign(rank) for rank in range(self._size) if rank != self._rank]
        return "; ".join(sign.text() for sign in [each for each in signs if each.messages < self.messages] or signs)

    def _sign(self, rank: int) -> Sign:
        text = self._board.read(f"beat/{rank}")
        return Sign(rank) if text is None else Sign(rank, *json.loads(text)[1:])

    # ------------------------------------------------------------------ the thread

    def _watch(self) -> None:
        failed_at = None
        while not self._end.wait(BEAT_S):
            self.beat()
            self._look_at_next()
            self.look_whether_left_behind()
            lost = self.failure() or self._silence()
            if lost is None or (self._known is not None and self._known.rank == self._rank):
                continue  # this process is where its program has taken it
            failed_at = failed_at or self._stays_since or time.monotonic()
            if time.monotonic() - failed_at > self._grace_s and not self._end.is_set():
                self._give_up(lost)

    def beat(self) -> None:
        """Give a sign of life."""
        self._beats += 1
        engine = self._only_engine()
        is_over = engine is not None and engine.last_event_name is Events.EPOCH_COMPLETED
        ended_after = engine.state.iteration if engine is not None and is_over else None
        sign = json.dumps([self._beats, self.messages, self.place, time.time(), ended_after])
        self._board.write(f"beat/{self._rank}", sign)

    def _only_engine(self) -> Engine[Any, Any] | None:
        engines = self.running()
        return engines[0] if len(engines) == 1 else None

    def _look_at_next(self) -> None:
        """Tell all if the next process has ended without a word, as one that is killed does."""
        rank = (self._rank + 1) % self._size
        if self._life is None:
            self._life = json.loads(self._board.read(f"life/{rank}") or "null")
        if is_over(self._life):
            place = self._sign(rank).place
            text = f"rank {rank} was killed, or has ended without a word (last heard of at {place})"
            self._report(Failure(rank, text))

    def look_whether_left_behind(self) -> None:
        """Tell all if this process has stayed for too long where another one does not come any more."""
        is_here = bool(self.running()) and self._left_at < self.met
        left = self._left_elsewhere() or self._ended_elsewhere() if is_here else None
        if left is None:
            self._stays_since = None
            return
        self._stays_since = self._stays_since or time.monotonic()
        if time.monotonic() - self._stays_since > self._grace_s:
            self._report(left)

    def _ended_elsewhere(self) -> Failure | None:
        """Return that the next process has ended its epoch when this one goes on with it, in later iterations."""
        engine, sign = self._only_engine(), self._sign((self._rank + 1) % self._size)
        # One more message is the vote at the end of the epoch; with others more, they are in different epochs.
        if engine is None or sign.ended_after is None or not 0 <= sign.messages - self.messages <= 1:
            return None
        iteration = engine.state.iteration
        text = (
            f"the epoch of rank {sign.rank} has ended after iteration {sign.ended_after}, and rank {self._rank} is in "
            f"iteration {iteration} of it; give all processes data with the same number of batches"
        )
        return Failure(sign.rank, text) if iteration > sign.ended_after else None

    def _silence(self) -> str | None:
        """Return that the next process has given no sign of life for too long, None if it has, or is there."""
        if can_be_asked_about(self._life):  # it may hold Python's lock for long
            return None
        rank = (self._rank + 1) % self._size
        text = self._board.read(f"beat/{rank}")
        if text != self._neighbour[0]:
            self._neighbour = text, time.monotonic()
        silent_s = time.monotonic() - self._neighbour[1]
        return f"rank {rank} has given no sign of life for {silent_s:.0f} s" if silent_s > self._timeout_s else None

    def _give_up(self, lost: str) -> NoReturn:
        """End the process: it waits for one that will not come, perhaps where no exception reaches it."""
        print(f"rank {self._rank} ends, at {self.place}: {lost}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)
