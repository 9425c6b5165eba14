"""Whether a process of this machine is still there: what the system says, where it can be asked (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

_PROCESSES = Path("/proc")
_NAMES_END = ")"  # of the name of a program, which may hold spaces
_STATE, _BEGUN = 0, 19  # fields after the name
_OVER = ("Z", "X")  # it has ended, and nobody has asked for its status


def own_life() -> list[str] | None:
    """Return what another process needs to see whether this one is there, None where the system does not tell.

    It is the same machine, the same numbering of processes (containers have their own), the number, and when it began:
    numbers are used again.
    """
    begun = _begun(os.getpid())
    place = _place()
    return None if begun is None or place is None else [place, str(os.getpid()), begun]


def is_over(life: list[str] | None) -> bool:
    """Return whether a process has ended; False for one of another machine, of which nothing is known.

    Args:
        life: what it has said of itself.

    Examples:
        >>> is_over(own_life())
        False
    """
    return life is not None and can_be_asked_about(life) and _begun(int(life[1])) != life[2]


def can_be_asked_about(life: list[str] | None) -> bool:
    """Return whether the system of this machine knows whether a process is there.

    Args:
        life: what it has said of itself.
    """
    return life is not None and life[0] == _place()


def _place() -> str | None:
    try:
        boot = (_PROCESSES / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {(_PROCESSES / 'self/ns/pid').readlink()}"
    except OSError:
        return None


def _begun(process: int) -> str | None:
    """Return when a process has begun, in words of the system; None if it is not there, or nobody tells."""
    try:
        told = (_PROCESSES / str(process) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = told.rpartition(_NAMES_END)[2].split()
    return None if fields[_STATE] in _OVER else fields[_BEGUN]
