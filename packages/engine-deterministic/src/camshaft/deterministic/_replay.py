"""Data that keeps no position of its own: drawn again from where it began."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from camshaft.deterministic._data import skip
from camshaft.deterministic._mismatch import ResumeMismatch
from camshaft.deterministic._rng_state import capture_rng, restore_rng


class Replay(Iterator[Any]):
    """An iterator that knows how to draw its batches again.

    Args:
        iterator: what gives the batches.
        data_pass: the pass that they belong to.
        earlier: passes that were drawn from the same iterator and left before its end.
        rng: where the generators stood when the first batch was drawn: it may have drawn an order
            then, after handlers had drawn numbers of their own. None: to be noted.
        drawn: batches of this pass that it gave before.
        is_isolated: whether the iterator draws from streams of its own, wherever the generators stand.
    """

    def __init__(
        self,
        iterator: Iterator[Any],
        data_pass: int,
        earlier: Sequence[dict[str, Any]] = (),
        *,
        rng: dict[str, Any] | None = None,
        drawn: int = 0,
        is_isolated: bool = False,
    ) -> None:
        self.drawn = drawn
        self._rng = rng
        self._earlier = list(earlier)
        self._iterator = iterator
        self._data_pass = data_pass
        self._knows_rng = is_isolated or drawn > 0

    def __next__(self) -> Any:
        if not self._knows_rng:
            self._knows_rng = True
            if self._rng is None:
                self._rng = capture_rng()
            else:
                restore_rng(self._rng)
        batch = next(self._iterator)
        self.drawn += 1
        return batch

    def passes(self, *, left_out: int = 0) -> list[dict[str, Any]]:
        """Return what `draw_again` takes, without the last `left_out` batches; it loads safely."""
        now = {"data_pass": self._data_pass, "drawn": self.drawn - left_out, "rng": self._rng}
        # Numbers that an iterator remembers were drawn at its very beginning.
        return [*self._earlier[:1], *({**each, "rng": None} for each in self._earlier[1:]), now]

    def state_dict(self, *, holds_batch: bool) -> dict[str, Any]:
        """Return the passes that were drawn; a batch in hand does not count yet."""
        return {"passes": self.passes(left_out=int(holds_batch))}


def draw_again(passes: Sequence[dict[str, Any]], start: Callable[..., Replay]) -> Replay:
    """Draw passes again up to where the last of them was left, and return it.

    Args:
        passes: what `Replay.passes` returned, at least one.
        start: `start(data_pass, earlier, rng)` begins a pass.

    Raises:
        ResumeMismatch: there are fewer batches now.
    """
    replays = []
    for number, each in enumerate(passes):
        replays.append(start(each["data_pass"], passes[:number], each["rng"]))
        skip_exactly(replays[-1], each["drawn"])
    return replays[-1]


def skip_exactly(iterator: Iterator[Any], count: int) -> None:
    """Draw and drop `count` batches.

    Raises:
        ResumeMismatch: there are not that many.
    """
    drawn = skip(iterator, count)
    if drawn < count:
        raise ResumeMismatch({"batches": (f"at least {count}", drawn)})
