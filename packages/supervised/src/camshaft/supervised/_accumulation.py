"""Gradient accumulation: which iterations share an optimizer step. Pure: no engine, no torch.

An epoch is cut into windows of `steps` iterations, counted from its start; its last one is as long
as what is left. Every loss of a window is divided by the window's length, and the window ends in
one optimizer step, so a window counts as one large batch.
"""

from __future__ import annotations

from typing import NamedTuple


class Share(NamedTuple):
    """What one iteration does for its window.

    Attributes:
        opens: it is the first one: the gradients start from zero.
        closes: it is the last one: the optimizer steps after it.
        length: iterations in the window, as far as known; the loss is divided by it.
    """

    opens: bool
    closes: bool
    length: int


WHOLE = Share(opens=True, closes=True, length=1)


def window_length(steps: int, done: int, epoch_length: int | None) -> int:
    """Return how many iterations a window has that opens after `done` iterations of an epoch.

    Args:
        steps: iterations in a full window; at least 1.
        done: iterations of the epoch before the window. A window may open inside another one's
            range (the gradients of a stopped run are gone): it then ends where that one would.
        epoch_length: iterations in the epoch, None while unknown.

    Examples:
        >>> [window_length(4, done, epoch_length=10) for done in (0, 4, 8)]
        [4, 4, 2]
    """
    length = steps - done % steps
    return length if epoch_length is None else max(1, min(length, epoch_length - done))


class Window:
    """The window in work: how long it is and how many of its iterations are in the gradients.

    Gradients are not part of any saved state. A window therefore goes on only with the very
    iteration that comes next; anything else (a new run, a loaded state, an iteration that
    failed halfway and may have left part of its gradients) opens a window anew.

    Args:
        steps: iterations in a full window; at least 1.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._length = steps
        self._done = 0
        self._iteration = 0
        self._next_iteration: int | None = None

    @property
    def is_open(self) -> bool:
        """Whether the gradients hold iterations that no optimizer step has used yet."""
        return self._done > 0

    def enter(self, iteration: int, epoch_iteration: int, epoch_length: int | None) -> Share:
        """Return what the iteration that starts now does.

        Args:
            iteration: iterations done in the run before this one.
            epoch_iteration: iterations done in the epoch before this one.
            epoch_length: iterations in the epoch, None while unknown.
        """
        self.forget_unless_next(iteration)
        if not self._done:
            self._length = window_length(self.steps, epoch_iteration, epoch_length)
        # Until `leave` says that its gradients are complete, this iteration spoils the window.
        self._iteration, self._next_iteration = iteration, None
        return Share(self._done == 0, self._done + 1 == self._length, self._length)

    def leave(self) -> None:
        """Count the iteration entered last: its gradients are complete."""
        self._done += 1
        self._next_iteration = self._iteration + 1
        if self._done == self._length:
            self._done = 0

    def forget_unless_next(self, iteration: int) -> None:
        """Drop an open window that the iteration after `iteration` others does not belong to."""
        if iteration != self._next_iteration:
            self._done = 0

    def close_early(self) -> float | None:
        """Close the window at an epoch's end that came before its own.

        Returns:
            what the gradients must be multiplied with so that the window counts by its true
            length, None when no window is open.
        """
        if not self._done:
            return None
        factor = self._length / self._done
        self._done = 0
        return factor
