"""One writer per remote directory: the run that has claimed it last. The one before notices at its next save.

A lock would not do. Nobody takes it off when its holder is killed, and one that runs out by itself needs clocks that
agree. A run that was started later is the one to go on; what it must not do is to share the place without a word.
"""

from __future__ import annotations

import datetime as dt
import errno
import json
import logging
import os
import secrets
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

from camshaft.handlers.checkpoint._errors import CheckpointInUseError
from camshaft.handlers.checkpoint.format._file_name import CLAIM_NAME
from camshaft.handlers.checkpoint.storage._retry import wait

if TYPE_CHECKING:
    from camshaft.handlers.checkpoint.storage._remote import RemoteDirectory

_logger = logging.getLogger("camshaft.handlers.checkpoint")


class Claim:
    """This process's claim to a directory; all its savers for the directory share it.

    Attributes:
        turn: What those who share the claim take turns with.
        last_number: Number of the last save under this claim, by whichever saver; None before the first.
    """

    def __init__(self) -> None:
        self.turn = threading.RLock()
        self.last_number: int | None = None
        self._text: bytes | None = None

    def hold(self, remote: RemoteDirectory) -> bool:
        """Claim the directory, or see that it is still ours; return whether the claim is new.

        Raises:
            CheckpointInUseError: another run has claimed it since.
            OSError: it cannot be read or written.
        """
        if self._text is not None:
            self.require(remote)
            return False
        before, text = _read(remote), _own_text()
        for pause in (*remote.retry.pauses(), None):  # until those who look see it
            remote.put_bytes(text, CLAIM_NAME)
            if _read(remote) == text or pause is None:
                break
            wait(pause)
        if _holder(_read(remote) or text) is None:
            raise OSError(errno.EIO, "what was written there to claim the place has not arrived as it was")
        self._text, self.last_number = text, None
        self.require(remote)
        if before is not None and _holder(before) != _holder(text):
            _logger.info("took %s over from %s", remote.url, _holder(before) or "another run")
        return True

    def require(self, remote: RemoteDirectory) -> None:
        """Raise unless the claim is still the last one.

        Raises:
            CheckpointInUseError: another run has claimed the directory since.
            OSError: the claim cannot be read.
        """
        found = _read(remote)
        if found is None and self._text is not None:  # somebody has tidied up
            remote.put_bytes(self._text, CLAIM_NAME)
        elif found != self._text:
            holder = _holder(found or b"") or "another run"
            raise CheckpointInUseError(
                errno.EBUSY,
                f"{holder} writes checkpoints there now; stop one of the two, or give another directory",
                remote.url,
            )

    def give_up(self, remote: RemoteDirectory) -> None:
        """Forget the claim; take it back if it is still the last one."""
        try:
            if self._text is not None and _read(remote) == self._text:
                remote.remove(CLAIM_NAME)
        except OSError as error:  # the next one takes the place over all the same
            _logger.warning("the claim to %s could not be taken back: %s", remote.url, error)
        self._text = self.last_number = None


_claims: dict[tuple[Any, ...], Claim] = {}


def claim_of(remote: RemoteDirectory) -> Claim:
    """Return this process's claim to a directory, held or not; a forked process has its own."""
    return _claims.setdefault((os.getpid(), *remote.identity), Claim())


def _own_text() -> bytes:
    told = {
        "token": secrets.token_hex(8),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "command": " ".join(sys.argv)[:120],
        "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }
    return json.dumps(told).encode()


def _read(remote: RemoteDirectory) -> bytes | None:
    try:
        return remote.read(CLAIM_NAME, 0, 1 << 16)
    except FileNotFoundError:
        return None


def _holder(text: bytes) -> str | None:
    """Return who has written a claim, in words; None if it is illegible."""
    try:
        told = json.loads(text)
        return f"process {told['pid']} on {told['host']} ({told['command']}), since {told['since']},"
    except (ValueError, KeyError, TypeError):
        return None
