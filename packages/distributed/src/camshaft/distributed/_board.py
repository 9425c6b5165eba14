"""Short texts that processes leave for each other, to be read at any time."""

from __future__ import annotations

import threading
import time
from typing import Any

_PAUSE_S = 0.05


class Board:
    """The store of an attempt, for short texts.

    Once it cannot be reached it stays so: its keeper is gone. Then nothing is written any more, and nothing is there.

    Args:
        store: a client of the store for this object alone. It serves one thread at a time.

    Attributes:
        is_lost: whether the store cannot be reached any more.
    """

    def __init__(self, store: Any) -> None:
        self.is_lost = False
        self._store = store
        self._turn = threading.Lock()

    def write(self, key: str, text: str, *, first: bool = False) -> None:
        """Leave a text.

        Args:
            key: where.
            text: what.
            first: whether a text that is there already stays.
        """
        self._ask("compare_set", key, "", text) if first else self._ask("set", key, text)

    def read(self, key: str, wait_s: float = 0.0) -> str | None:
        """Return a text, None if it is not there.

        Args:
            key: where.
            wait_s: how long to wait for it.
        """
        text = self._ask("get", key).decode() if self.has([key], wait_s) else ""
        return text or None  # nothing, if the store went away in between

    def has(self, keys: list[str], wait_s: float = 0.0) -> bool:
        """Return whether all these texts are there.

        Args:
            keys: where.
            wait_s: how long to wait for them.
        """
        deadline = time.monotonic() + wait_s
        while not (found := bool(self._ask("check", keys))) and not self.is_lost and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
        return found

    def _ask(self, method: str, *args: Any) -> Any:
        with self._turn:
            if self.is_lost:
                return b"" if method == "get" else None
            try:
                return getattr(self._store, method)(*args)
            except RuntimeError:  # of torch.distributed: it has no finer class for a connection that has broken
                self.is_lost = True
                return b"" if method == "get" else None
