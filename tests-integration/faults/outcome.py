"""What a harness has found."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """How many cases were tried, and in how many of them a promise was broken.

    Attributes:
        name: the promise.
        cases: how many were tried.
        losses: how many broke it.
        detail: what else was counted, or could not be tried here.
    """

    name: str
    cases: int
    losses: int
    detail: str
