"""This process among those that train together: what a script holds in its hand."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import weakref
from collections.abc import Callable
from multiprocessing.util import Finalize
from types import TracebackType
from typing import Any, Self, TypeGuard

import torch
from torch import distributed

from camshaft.distributed._control import Control
from camshaft.distributed._watch import Watch
from camshaft.engine import Engine, RanksError, RunningError, use_ranks

LONGEST_TEXT = 4_000  # of an error, told to the others
HEAR_S = 3.0  # how long the keeper of the store waits at its failure, for the others to hear of it


class Process:
    """This process among those that train together; made by `start`.

    Leave the block of ``with start() as process:``, or call `end`, when the work is done. A process that ends with an
    exception tells the others first: they end within seconds, with an error that says which process has failed, where
    and why.

    Attributes:
        rank: the number of this process, from 0.
        size: how many processes there are.
        local_rank: its number among those on this machine.
        device: where it computes.

    Args:
        rank, size, local_rank: as above.
        device: as above.
        links: what connects it to the others; None for a process that is alone.
    """

    def __init__(self, rank: int, size: int, local_rank: int, device: torch.device, links: Links | None) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.device = device
        self._links = links
        self._has_ended, self._pid = False, os.getpid()
        self._shared: tuple[weakref.ref[Engine[Any, Any]], ...] = ()  # what all run together
        self._left_by: SystemExit | None = None  # what has left the run of an engine, whatever its status
        if links is not None:
            use_ranks(self)
            links.watch_over(self, self._running, self._end_with_program)

    def exchange(self, what: str, value: Any) -> list[Any]:
        """Give `value` to all processes, and return theirs by rank. Every process has to call it at the same place.

        Args:
            what: what is exchanged, in words; the same in all processes.
            value: anything that pickles; tensors arrive on the CPU.

        Returns:
            The values of all processes.

        Raises:
            RankMissingError: a process has not come within the timeout.
            RankLostError: a process has failed.
            RanksApartError: a process is at another place.
            RunningError: this process has ended already.

        Examples:
            >>> from camshaft.distributed import start
            >>> start().exchange("the loss", 0.5)
            [0.5]
        """
        self._require_going()
        return [value] if self._links is None else self._links.control.exchange(what, value)

    def agree(self, engine: Engine[Any, Any], every: int = 1) -> None:
        """Let all processes stop an engine together: what one of them asks for, all do at the same iteration.

        This holds for `terminate`, `terminate_epoch`, `interrupt` and what was added with `Engine.add_request`, whoever
        asks: a handler, a limit of time, a signal. The processes vote after STARTED, EPOCH_STARTED, EPOCH_COMPLETED and
        every n-th iteration. A request of an iteration is carried out one vote later. Does nothing where the
        process is alone.

        Call it for the engine that all processes run, the trainer. It is not needed for engines inside its handlers.

        Args:
            engine: the engine; every process has one that does the same.
            every: vote after every n-th iteration, at least 1.

        Raises:
            RunningError: the engine is running, or this process has ended already.
            ArgumentError: `every` is out of range.
        """
        self._require_going()
        if self._links is not None:
            engine.share_requests(self._links.control.vote, every, self._explain)
            self._shared = (*(each for each in self._shared if each() is not None), weakref.ref(engine))

    def _explain(self, error: BaseException) -> BaseException:
        """Return what to raise in the place of what has left a run: it may have waited for a process that is lost."""
        self._left_by = error if isinstance(error, SystemExit) else None
        if self._links is None or os.getpid() != self._pid:
            return error
        lost = self._lost(error)
        if lost is None and _may_be_of_others(error):
            error.add_note(f"the other processes: {self._links.control.others()}")
        self._links.leave_run(_text_of(lost or error))
        return lost or error

    def _running(self) -> list[Engine[Any, Any]]:
        return [engine for each in self._shared if (engine := each()) is not None and engine.is_running]

    def _lost(self, error: BaseException) -> RanksError | None:
        return self._links.control.lost(error) if self._links is not None and _may_be_of_others(error) else None

    def _require_going(self) -> None:
        if self._has_ended and self.size > 1:
            raise RunningError("the processes have parted: this one has ended or failed; do it before end()")

    def end(self) -> None:
        """Wait for the other processes, and let go of them. Does nothing the second time.

        Raises:
            RankMissingError: a process does not come to its end within the timeout.
            RankLostError: a process has failed.
        """
        if (links := self._let_go()) is not None:
            links.part()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_done(error):
            self.end()
        elif error is not None:
            lost = self._lost(error)
            self.fail(lost or error)
            if lost is not None:
                raise lost from error

    def _is_done(self, error: BaseException | None) -> bool:
        """Return whether the program ends well, by its end or by an exit that is not in the middle of a run."""
        is_exit = isinstance(error, SystemExit) and not error.code and error is not self._left_by
        return error is None or is_exit

    def _end_with_program(self) -> None:
        """Part from the others, or tell them that the program ends in the middle of a run."""
        error = self._left_by or sys.exception()  # which is there where a process of multiprocessing ends
        if self._is_done(error):
            self.end()
        elif error is not None:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """Tell the others that this process ends, and why. What leaves the block, or the program, does this by itself.

        Args:
            error: what was raised.
        """
        if (links := self._let_go()) is not None:
            links.break_off(_text_of(error))

    def _let_go(self) -> Links | None:
        """Return what connects this process to the others, for the last time; None in one that was forked from it."""
        links, self._links = self._links, None
        self._has_ended = True
        if links is None or os.getpid() != self._pid:
            return None
        use_ranks(None)
        return links

    def __repr__(self) -> str:
        return f"Process(rank={self.rank}, size={self.size}, device={self.device})"


class Links:
    """What connects a process to the others.

    Args:
        control: messages.
        watch: signs of life.
        keeps_store: whether the store of all processes ends with this one.
        owns_group: whether the process group was made here, and is to be ended here.
    """

    def __init__(self, control: Control, watch: Watch, *, keeps_store: bool, owns_group: bool) -> None:
        self.control = control
        self._watch = watch
        self._keeps_store = keeps_store
        self._owns_group = owns_group

    def watch_over(
        self, process: Process, running: Callable[[], list[Engine[Any, Any]]], end: Callable[[], None]
    ) -> None:
        """Let the process part, or break off, when the program ends, however it does."""
        self._watch.running = running
        hook = sys.excepthook

        def tell(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
            process.fail(error)
            hook(kind, error, traceback)

        sys.excepthook = tell
        atexit.register(end)
        if multiprocessing.parent_process() is not None:  # such a process leaves without the above
            Finalize(None, end, exitpriority=0)

    def part(self) -> None:
        """Come to the end together with the others, however long they are still at work."""
        self._watch.wait_for_others()
        self.control.exchange("the end", None)
        self._watch.stop()
        self.control.exchange("the end, with nobody watching", None)  # now the store may go
        self.control.close()
        if self._owns_group:
            distributed.destroy_process_group()

    def leave_run(self, reason: str) -> None:
        """Tell the others that an exception leaves a run."""
        self._watch.leave_run(reason)

    def break_off(self, reason: str) -> None:
        """Tell the others that this process fails, and leave."""
        self._watch.report_failure(reason)
        self._watch.stop()
        if self._keeps_store:
            self._watch.let_others_hear(HEAR_S)


def _may_be_of_others(error: BaseException) -> TypeGuard[RuntimeError]:
    return isinstance(error, RuntimeError) and not isinstance(error, RanksError)


def _text_of(error: BaseException) -> str:
    """Return what to tell of an error: not all of a long text, and something even if it has none."""
    try:
        text = str(error)
    except Exception as other:  # noqa: BLE001  # the error that ends this process is to be told, not this one
        text = f"its text cannot be had: {type(other).__name__}"
    return f"{type(error).__name__}: {text if len(text) <= LONGEST_TEXT else f'{text[:LONGEST_TEXT]} ...'}"


def require_not_started() -> None:
    """Raise if this process has started already.

    Raises:
        RunningError: it has.
    """
    from camshaft.engine import ranks

    if ranks().size > 1:
        raise RunningError("start() must be called once in a process, and end() before it is called again")
