"""Messages that all processes exchange, each at the same place of the program.

Every message begins with a roll call of a fixed size, in which each process says where it is. So processes that are at
different places find out at once, all of them, in place of waiting for each other.
"""

from __future__ import annotations

import io
import os
import time
from array import array
from collections.abc import Collection, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor, distributed
from torch.distributed import AllreduceOptions, DistError, ReduceOp

from camshaft.distributed._errors import RankLostError, RankMissingError, RanksApartError
from camshaft.distributed._watch import Watch
from camshaft.engine import ArgumentError, Events, Position, RanksError, RunningError

MOST_WISHES = 32
STOPS = frozenset({"terminate", "terminate, skip_completed", "interrupt"})
OWN_WISHES = 5  # that every engine has; after them come those that were added by name
HEAR_S = 3.0  # how long to wait for what is known of a process that does not answer
LENGTH, FIRST_WISH = 4, 5  # where in a roll call; before them are number and place, each with its negative


class _RollCall(NamedTuple):
    """A roll call that is going on.

    Attributes:
        what: where this process is, in words.
        work: the operation; once it is done, each number that was said is the largest of all processes.
        names: what can be wished, in a vote.
    """

    what: str
    work: Any
    names: tuple[str, ...] = ()


class Control:
    """The messages of one process.

    Args:
        group: a process group for control messages alone, on the CPU.
        watch: knows what has become of the others when no answer comes.
        timeout_s: the timeout of the group.
    """

    def __init__(self, group: Any, watch: Watch, timeout_s: float) -> None:
        self._group = group
        self._pid = os.getpid()
        self._watch = watch
        self._timeout_s = timeout_s
        # What is said in a roll call, as Python and as torch see it. It is done before the next one begins.
        self._said = array("q", bytes(8 * (FIRST_WISH + MOST_WISHES)))
        self._tensor = torch.frombuffer(self._said, dtype=torch.int64)
        self._largest = AllreduceOptions()
        self._largest.reduceOp = ReduceOp(ReduceOp.MAX)
        self._open: _RollCall | None = None  # a vote whose result was not looked at yet
        self._agreed: set[str] = set()  # what was agreed on and is to be returned by the next vote

    def exchange(self, what: str, value: Any) -> list[Any]:
        """Give a value to all processes, and return theirs by rank.

        Args:
            what: what is exchanged, in words; the same in all processes.
            value: anything that pickles; tensors arrive on the CPU.

        Raises:
            RankMissingError: a process has not come within the timeout.
            RankLostError: a process has failed.
            RanksApartError: a process is at another place.
        """
        self._close_vote()
        data = _packed(value)
        self._finish(self._call_roll(what, len(data)))
        longest = self._said[LENGTH]
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self._group.size())]
        self._wait(what, distributed.all_gather(lengths, torch.tensor([len(data)]), self._group, async_op=True))
        mine = torch.zeros(longest, dtype=torch.uint8)
        mine[: len(data)] = data
        gathered = [torch.empty_like(mine) for _ in lengths]
        self._wait(what, distributed.all_gather(gathered, mine, self._group, async_op=True))
        parts = zip(gathered, lengths, strict=True)
        return [_unpacked(part[: int(length)]) for part, length in parts]

    def close(self) -> None:
        """Let go of the group, when all have come to the end.

        Its threads end with it. An engine may keep this object, and a thread that is still there when Python ends can
        abort the process.
        """
        group, self._group = self._group, None
        distributed.destroy_process_group(group)

    def vote(self, event: Events, position: Position, wishes: Mapping[str, bool]) -> Collection[str]:
        """Tell what this process wishes, and return what any process wishes; see `camshaft.engine.Vote`.

        After an iteration inside an epoch the answer is that of the vote before: nobody waits for the slowest message.

        Args:
            event: whose handlers have been called.
            position: where the run stands.
            wishes: what can be wished, and whether this process does.
        """
        names = tuple(wishes)
        if len(names) > MOST_WISHES:
            raise ArgumentError(f"`name` must be one of at most {MOST_WISHES} requests, got {names}; add fewer")
        self._close_vote()
        if event is Events.STARTED:
            self._agreed.clear()  # what was wished at the end of the run before
        what = f"the vote after {event.name} at epoch {position.epoch}, iteration {position.iteration}"
        self._open = self._call_roll(what, 0, wishes)
        is_inside = event is Events.ITERATION_COMPLETED and position.stage == Events.GET_BATCH_STARTED.name
        if not is_inside or self._agreed & STOPS:  # no vote is left open by a run that ends
            self._close_vote()
        agreed, self._agreed = self._agreed, set()
        return agreed

    def _close_vote(self) -> None:
        if self._open is not None:
            called, self._open = self._open, None
            self._finish(called)
            said = self._said[FIRST_WISH : FIRST_WISH + len(called.names)]
            self._agreed |= {name for name, is_wished in zip(called.names, said, strict=True) if is_wished}

    # ------------------------------------------------------------------ the roll call

    def _call_roll(self, what: str, length: int, wishes: Mapping[str, bool] | None = None) -> _RollCall:
        if os.getpid() != self._pid:
            raise RunningError(
                f"a forked process has no connection to the others: {what} is for the one that has started"
            )
        if self._group is None:
            raise RunningError(f"the processes have parted: {what} is after end(); do it before")
        wishes = wishes or {}
        self._watch.messages += 1
        self._watch.place = what
        number, place = self._watch.messages, _hash(what, *wishes)
        said = array("q", (number, -number, place, -place, length, *wishes.values()))
        self._said[: len(said)] = said
        return _RollCall(what, self._group.allreduce([self._tensor], self._largest), tuple(wishes))

    def _finish(self, called: _RollCall) -> None:
        """Wait for a roll call; raise unless all processes are at the same place."""
        self._wait(called.what, called.work)
        most, least, place, other_place = self._said[:4]
        if most != -least or place != -other_place:
            self._tell_places(called)
        self._watch.met = most

    def _tell_places(self, called: _RollCall) -> NoReturn:
        added = ", ".join(map(repr, called.names[OWN_WISHES:]))
        places = self._watch.tell_places(f"{called.what}, with the requests {added}" if added else called.what)
        told = "; ".join(f"rank {rank} is at {place}" for rank, place in enumerate(places))
        raise RanksApartError(
            f"the processes must reach every save, vote and exchange in the same order, and are apart: {told}. Attach "
            "the same handlers in all of them, and give them data with the same number of batches. If one has stopped "
            "its run alone, call process.agree(trainer) before the run"
        )

    def _wait(self, what: str, work: Any) -> None:
        begun = time.monotonic()
        try:
            work.wait()
        except RuntimeError as error:  # the backend has no finer class for what has become of its connections
            raise self._explained(what, time.monotonic() - begun) from error

    def others(self) -> str:
        """Return in words what is known of the others: which one has failed, or where each was last heard of."""
        return self._watch.failure(wait_s=1.0) or self._watch.missing()

    def lost(self, error: RuntimeError) -> RanksError | None:
        """Return the error that says which process an operation of torch has missed; None if it was something else.

        Args:
            error: what was raised.
        """
        if not _is_of_connection(error):
            return None
        failure, was_here = self._watch.failure(wait_s=HEAR_S), f"This process had come to {self._watch.place}"
        if failure is not None:
            return RankLostError(f"{failure}. {was_here}, and was in an operation of torch")
        told = f"{self._watch.missing()}. {was_here}"
        if "timed out" in str(error).lower():
            return RankMissingError(f"an operation of torch has waited too long for another process: {told}")
        return RankLostError(f"the connection to another process has broken in an operation of torch: {told}")

    def _explained(self, what: str, waited_s: float) -> Exception:
        """Return the error that says what has become of the others."""
        failure = self._watch.failure(wait_s=HEAR_S)
        if failure is not None:
            return RankLostError(f"{failure}. This process was at {what}")
        told = self._watch.missing()
        if waited_s > 0.9 * self._timeout_s:
            return RankMissingError(f"not all processes have come to {what} within {self._timeout_s:g} s: {told}")
        return RankLostError(f"the connection to another process has broken at {what}: {told}")


def _is_of_connection(error: RuntimeError) -> bool:
    """Return whether an operation of torch has raised because of another process.

    Gloo has no class for its errors; they name the file of its sources that they come from.
    """
    return isinstance(error, DistError) or any(name in str(error) for name in ("gloo/", "gloo\\"))


def _packed(value: Any) -> Tensor:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8)


def _unpacked(data: Tensor) -> Any:
    # What a process of this job has sent may be anything. Tensors of its device come to the CPU.
    return torch.load(io.BytesIO(data.numpy().tobytes()), map_location="cpu", weights_only=False)


def _hash(*texts: str) -> int:
    """Return 62 bits that stand for texts."""
    return int.from_bytes(blake2b("\n".join(texts).encode(), digest_size=8).digest()) >> 2
