"""Runs inside runs: an evaluator in a handler of a trainer, say. Each thread has runs of its own."""

from __future__ import annotations

import threading
from typing import Protocol

from camshaft.engine._requests import Requests


class NestedRun(Protocol):
    """A run as the runs around it see it.

    Attributes:
        outer: the run inside which it was begun.
        is_going: whether it goes on; None before it begins.
        requests: what is asked of it.
    """

    outer: NestedRun | None
    is_going: bool | None
    requests: Requests


class _Thread(threading.local):
    innermost: NestedRun | None = None


_thread = _Thread()


def go_inside(run: NestedRun) -> None:
    """Let `run` begin inside the one that is going on in this thread, if there is one."""
    outer = _thread.innermost
    while outer is not None and not outer.is_going:  # a signal has cut its end short
        outer = outer.outer
    run.outer = outer
    _thread.innermost = run


def come_back(run: NestedRun) -> None:
    """Let the run go on in which `run` was begun."""
    _thread.innermost = run.outer


def outermost_run() -> NestedRun | None:
    """Return the run in this thread that all others of the thread are inside; None when none is going on."""
    run = _thread.innermost
    outermost: NestedRun | None = None
    while run is not None:
        if run.is_going:
            outermost = run
        run = run.outer
    return outermost
