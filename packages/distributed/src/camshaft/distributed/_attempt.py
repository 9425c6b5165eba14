"""One attempt of a job: the processes that started together, and no others.

After a failure torchrun starts all processes anew, with the same store at the same port. What the attempt before left
there (addresses of processes that are dead) must not be read again. So each attempt has an id, under which it keeps
everything. A count of restarts would not do: several nodes may count differently.
"""

from __future__ import annotations

import json
import time
from typing import Protocol
from uuid import uuid4

from camshaft.distributed._errors import RankMissingError

_PAUSE_S = 0.02


class Store(Protocol):
    """What is used of a store of torch: strings by key, seen by all processes."""

    def set(self, key: str, value: str) -> None:
        """Keep a value."""

    def get(self, key: str) -> bytes:
        """Return a value, once it is there."""

    def check(self, keys: list[str]) -> bool:
        """Return whether all keys are there."""


def join_attempt(store: Store, rank: int, size: int, timeout_s: float) -> str:
    """Return the id of this attempt, the same in every process that has started for it.

    Each process leaves a word of its own. Rank 0 gives an id to the words that it finds, and each process says whether
    its word is among them. It is not where a word is left from an earlier attempt: then rank 0 tries again.

    Args:
        store: seen by all processes; may hold what earlier attempts have left.
        rank, size: of this process.
        timeout_s: seconds to wait for the others.

    Raises:
        RankMissingError: not all have come; the text says who has not.
    """
    word, waiting = uuid4().hex, _Waiting(store, size, timeout_s)
    store.set(f"hello/{rank}", word)
    return _lead(waiting) if rank == 0 else _follow(waiting, rank, word)


class _Waiting:
    """What is asked of the store while the processes come together.

    Args:
        store: seen by all processes.
        size: how many processes there are.
        timeout_s: seconds until `pause` raises.
    """

    def __init__(self, store: Store, size: int, timeout_s: float) -> None:
        self.store = store
        self.size = size
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s

    def words(self) -> list[str | None]:
        """Return the word that each process has left, None of those that have not come."""
        keys = [f"hello/{rank}" for rank in range(self.size)]
        return [self.store.get(key).decode() if self.store.check([key]) else None for key in keys]

    def absent(self, attempt: str | None) -> list[int]:
        """Return who has not said that it belongs to an attempt; rank 0 if it has begun none with this process."""
        if attempt is None:
            return [0]
        return [rank for rank in range(1, self.size) if not self.store.check([f"yes/{attempt}/{rank}"])]

    def pause(self, attempt: str | None) -> None:
        """Wait a moment; raise if it has been too long, and say who is not there."""
        if time.monotonic() > self._deadline:
            names = ", ".join(map(str, self.absent(attempt)))
            raise RankMissingError(
                f"the processes have not come together within {self._timeout_s:g} s: rank {names} has not started; "
                "look at what it has printed, and at the address and the number of processes that it was given"
            )
        time.sleep(_PAUSE_S)


def _lead(waiting: _Waiting) -> str:
    while True:
        attempt, words = uuid4().hex, waiting.words()
        waiting.store.set("attempt", json.dumps([attempt, words]))
        while words == waiting.words():
            if not waiting.absent(attempt):
                waiting.store.set(f"go/{attempt}", "")
                return attempt
            waiting.pause(attempt)


def _follow(waiting: _Waiting, rank: int, word: str) -> str:
    store = waiting.store
    while True:
        attempt, words = json.loads(store.get("attempt")) if store.check(["attempt"]) else ("", [])
        is_mine = word in words[rank : rank + 1]
        if is_mine:
            store.set(f"yes/{attempt}/{rank}", "")
            if store.check([f"go/{attempt}"]):
                return str(attempt)
        waiting.pause(attempt if is_mine else None)
