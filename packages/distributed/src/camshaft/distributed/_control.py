"""Messages that all processes exchange, each at the same place of the program.

Every message begins with a roll call of a fixed size, in which each process says where it is. So processes that are at
different places find out at once, all of them, in place of waiting for each other.
"""

from __future__ import annotations

import io
import os
import time
from array import array
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from itertools import compress
from struct import Struct
from typing import Any, NoReturn

import torch
from torch import Tensor, distributed
from torch.distributed import AllreduceOptions, DistError, ReduceOp

from camshaft.distributed._errors import RankLostError, RankMissingError, RanksApartError
from camshaft.distributed._watch import Point, Watch, in_words
from camshaft.engine import ArgumentError, Events, Position, RanksError, RunningError

MOST_WISHES = 32
STOPS = frozenset({"terminate", "terminate, skip_completed", "interrupt"})
OF_A_RUN = STOPS | {"terminate_epoch", "terminate_epoch, skip_epoch_completed"}
OWN_WISHES = len(OF_A_RUN)  # that every engine has; after them come those that were added by name
HEAR_S = 3.0  # how long to wait for what is known of a process that does not answer
ITERATION_COMPLETED = Events.ITERATION_COMPLETED
INSIDE = Events.GET_BATCH_STARTED.name  # where a run stands after an iteration that is not the epoch's last
# What a roll call begins with: the number of the message and its negative, the place and its negative, the length of
# what follows, whether anything is wished. Each wish comes behind it.
HEAD = Struct("=6q")
FIRST_WISH = 6


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
        self._names: tuple[str, ...] = ()  # what can be wished in the last roll call, if that was for a vote
        self._open: Any = None  # the operation of a vote whose result was not looked at yet
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
        longest, _ = self._finish(self._call_roll(what, _hash(what), len(data)))
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self._group.size())]
        self._wait(distributed.all_gather(lengths, torch.tensor([len(data)]), self._group, async_op=True))
        mine = torch.zeros(longest, dtype=torch.uint8)
        mine[: len(data)] = data
        gathered = [torch.empty_like(mine) for _ in lengths]
        self._wait(distributed.all_gather(gathered, mine, self._group, async_op=True))
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
            self._agreed -= OF_A_RUN  # what was wished at the end of the run before
        place = _hash_of_vote(event, names) ^ position.iteration ^ position.epoch << 32
        self._open = self._call_roll((event, position), place % 2**62, 0, names, wishes.values())
        is_inside = event is ITERATION_COMPLETED and position.stage == INSIDE
        if not is_inside or not self._agreed.isdisjoint(STOPS):  # no vote is left open by a run that ends
            self._close_vote()
        if not self._agreed:
            return ()
        agreed, self._agreed = self._agreed, set()
        return agreed

    def _close_vote(self) -> None:
        if self._open is not None:
            work, self._open = self._open, None
            _, is_wished = self._finish(work)
            if is_wished:
                self._agreed.update(compress(self._names, self._said[FIRST_WISH:]))

    # ------------------------------------------------------------------ the roll call

    def _call_roll(
        self, point: Point, place: int, length: int, names: tuple[str, ...] = (), wished: Iterable[bool] = ()
    ) -> Any:
        """Begin a roll call, and return its operation. Once it is done, each number said is the largest of all."""
        if os.getpid() != self._pid:
            raise RunningError(
                f"a forked process has no connection to the others: {in_words(point)} is for the one that has started"
            )
        if self._group is None:
            raise RunningError(f"the processes have parted: {in_words(point)} is after end(); do it before")
        self._watch.messages = number = self._watch.messages + 1
        self._watch.point, self._names = point, names
        HEAD.pack_into(self._said, 0, number, -number, place, -place, length, any(wished))
        for where, is_wished in enumerate(wished, FIRST_WISH):
            self._said[where] = is_wished
        return self._group.allreduce([self._tensor], self._largest)

    def _finish(self, work: Any) -> tuple[int, bool]:
        """Wait for a roll call, and return the largest length and whether anybody wishes anything.

        Raises:
            RanksApartError: not all processes are at the same place.
        """
        self._wait(work)
        most, least, place, other_place, length, is_wished = HEAD.unpack_from(self._said)
        if most != -least or place != -other_place:
            self._tell_places()
        self._watch.met = most
        return length, is_wished

    def _tell_places(self) -> NoReturn:
        added, place = ", ".join(map(repr, self._names[OWN_WISHES:])), self._watch.place
        places = self._watch.tell_places(f"{place}, with the requests {added}" if added else place)
        told = "; ".join(f"rank {rank} is at {place}" for rank, place in enumerate(places))
        raise RanksApartError(
            f"the processes must reach every save, vote and exchange in the same order, and are apart: {told}. Attach "
            "the same handlers in all of them, and give them data with the same number of batches. If one has stopped "
            "its run alone, call process.agree(trainer) before the run"
        )

    def _wait(self, work: Any) -> None:
        begun = time.monotonic()
        try:
            work.wait()
        except RuntimeError as error:  # the backend has no finer class for what has become of its connections
            raise self._explained(time.monotonic() - begun) from error

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

    def _explained(self, waited_s: float) -> Exception:
        """Return the error that says what has become of the others."""
        failure, what = self._watch.failure(wait_s=HEAR_S), self._watch.place
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


@lru_cache(maxsize=64)
def _hash_of_vote(event: Events, names: tuple[str, ...]) -> int:
    return _hash(event.name, *names)


def _hash(*texts: str) -> int:
    """Return 62 bits that stand for texts."""
    return int.from_bytes(blake2b("\n".join(texts).encode(), digest_size=8).digest()) >> 2
