"""Data that keeps no place of its own: drawn again from where it began."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat, starmap
from typing import Any, ClassVar

from camshaft.deterministic._describe import describe_inside
from camshaft.deterministic._inside import find_loaders
from camshaft.deterministic._kinds._isolated import IsolatedIterator
from camshaft.deterministic._kinds._iterator_end import FINISHED, IteratorEnd
from camshaft.deterministic._kinds._kind import MEMORY, Setting, entries_of, without_empty
from camshaft.deterministic._kinds._pass import Early, Pass, counting
from camshaft.deterministic._kinds._pipeline import ThreadWatch, is_pipeline, remembering_in
from camshaft.deterministic._kinds._redrawn import compare_last, skip_exactly
from camshaft.deterministic._loading._fetch import Seeding
from camshaft.deterministic._loading._order import tell_epoch
from camshaft.deterministic._memory._kept_iterator import KeptIterators, is_plain_iterator
from camshaft.deterministic._memory._memory import ObjectMemory
from camshaft.deterministic._random._rng_state import GeneratorStates, read_rng, restore_rng
from camshaft.deterministic._random._seeds import derive_seed
from camshaft.deterministic._random._streams import seed_pass
from camshaft.engine import EngineWarning, Position


class ReplayedData:
    """Draws a pass again up to where it was left, under the generators as they were at its first batch.

    Generators and other iterables draw from the generators of the process as the handlers leave them. Those that
    have a loader inside, and those of one rank of several, draw from streams of their own: a loader that is started
    again in the middle of a pass takes its order from there, too. For the last batch that is drawn again the
    generators are put back to where they stood before it, and it is compared with what the saved run saw there.

    An iterator that was left before its end goes on in the next pass. In another process all that was drawn from
    it is drawn again.

    Args:
        data: the user's data.
        setting: what the passes depend on beside it.
    """

    name: ClassVar[str] = "replayed"

    def __init__(self, data: Any, setting: Setting) -> None:
        self._data = data
        self._setting = setting
        self._is_iterator = hasattr(type(data), "__next__")
        # An iterator that has ended has no more batches, also where a new process has another one.
        self._may_be_spent = setting.isolates and is_plain_iterator(data)
        self._end = IteratorEnd(draws=setting.isolates and self._is_iterator and not self._may_be_spent)
        self._is_spent = False
        self._is_isolated = setting.isolates or setting.ranks.world_size > 1 or draws_by_itself(data)
        self._memory = ObjectMemory([] if self._is_iterator else [data, *remembering_in(data)])
        self._iterators = KeptIterators([] if self._is_iterator else [data], setting.report)
        self._threads = ThreadWatch(data)
        self._opened: ReplayedPass | None = None
        self._unfinished: list[dict[str, Any]] = []  # passes over an iterator that were left before its end

    @staticmethod
    def describe(data: Any, seeding: Seeding | None) -> dict[str, Any]:
        """Return the workers of the loaders inside it: with others it would come out differently."""
        del seeding
        return describe_inside(data)

    def open(self, position: Position) -> Iterator[Any]:
        """Return the batches still to come; inside a pass the generators of the process are left anywhere."""
        saved = entries_of(position.data_state)
        if position.pass_open:
            self.recall(saved)
        if self._opened is None:
            has_ended = saved.get("has_ended") if position.pass_open else saved.get("is_spent")
            self._is_spent = self._may_be_spent and bool(has_ended)
        self._iterators.begin(saved, is_new=self._opened is None, goes_on=position.pass_open)
        stands_there = self._is_iterator and self._opened is not None  # in this process
        if not position.pass_open:
            self._opened = self._begin_next(position, saved)
        elif saved.get("has_ended"):
            self._opened = ReplayedPass(iter(()), position, has_ended=True)
        elif stands_there:
            *earlier, now = saved["passes"]
            rest = starmap(self._data.__next__, repeat(()))  # its `__iter__` may start it anew
            self._opened = self._open(rest, position, earlier, now)
        else:
            self._warn_of_batch_in_hand(position)
            unknown = [{"data_pass": position.data_pass, "drawn": position.batch, "rng": None, "before": None}]
            self._opened = self._draw_again(position, saved.get("passes", unknown))
            compare_last(self._opened, saved.get("last"), self._setting.report)
        return self._opened

    def recall(self, state: Any) -> None:
        """Put back what the data remembers between two passes; bring an iterator to its end, if it had come to that."""
        saved = entries_of(state)
        self._memory.restore(saved.get(MEMORY))
        if self._opened is None:
            self._end.draw_again(saved.get(FINISHED), self._open_again, self._setting.report)

    def state(self, position: Position) -> Any:
        """Return which passes were drawn, how far, a hash of the last batch, and what the data counts."""
        if self._opened is None and position.data_state is not None:
            return position.data_state
        if self._opened is None or not position.pass_open:
            left = None if self._opened is None else self._iterators.names()
            return without_empty(
                passes=self._left_unfinished() or None,
                memory=self._memory.now(),
                iterators=left,
                is_spent=self._is_at_its_end(),
                finished=self._end.note(self._opened),
            )
        self._threads.warn()
        held = position.holds_batch
        return without_empty(
            passes=self._opened.passes(left_out=int(held)),
            has_ended=self._opened.has_ended,
            last=None if held else self._opened.last(),
            memory=self._memory.now() if self._opened.has_ended else self._memory.at_start(),
            iterators=self._iterators.names() if self._opened.has_ended else self._iterators.at_start,
        )

    def close(self) -> None:
        """Let go of the iterator; an iterator of the user's stands where the run has left it."""
        if self._opened is not None:
            self._unfinished = self._left_unfinished()
            self._end.note(self._opened)
            self._opened.close()

    def _begin_next(self, position: Position, saved: Any) -> ReplayedPass:
        """Begin a pass; after loading, bring an iterator to where the saved run had left it."""
        earlier = self._left_unfinished()
        self._end.note(self._opened)
        if self._opened is None and "passes" in saved:
            earlier = self._draw_again(position, saved["passes"]).passes()
            self._seed(position.data_pass)
        self._memory.begin_pass()
        return self._open(() if self._is_spent else self._data, position._replace(batch=0), earlier)

    def _is_at_its_end(self) -> bool:
        return self._is_spent or (self._may_be_spent and self._opened is not None and self._opened.has_ended)

    def _left_unfinished(self) -> list[dict[str, Any]]:
        opened = self._opened
        if opened is None or opened.has_ended or not self._is_iterator:
            return []
        return opened.passes() if opened.is_open else self._unfinished

    def _draw_again(self, position: Position, passes: Sequence[dict[str, Any]]) -> ReplayedPass:
        replay = ReplayedPass(iter(()), position)
        for number, each in enumerate(passes):
            self._seed(each["data_pass"])
            self._memory.begin_pass()
            start = position._replace(data_pass=each["data_pass"], batch=0)
            replay = self._open(self._data, start, passes[:number], {"rng": each["rng"], "before": None})
            skip_exactly(replay, each["drawn"] - 1, self._setting.report)
            if each["before"] is not None:
                restore_rng(each["before"])
            skip_exactly(replay, min(1, each["drawn"]), self._setting.report)
        return replay

    def _open_again(self, data_pass: int) -> ReplayedPass:
        return self._open(self._data, Position(data_pass=data_pass), ())

    def _seed(self, data_pass: int) -> None:
        if not self._is_isolated:
            seed_pass(self._setting.seed, self._setting.ranks, data_pass)

    def _open(
        self, batches: Iterable[Any], position: Position, earlier: Sequence[Any], known: Mapping[str, Any] | None = None
    ) -> ReplayedPass:
        tell_epoch(self._data, position.data_pass)
        if not self._is_isolated:
            rng, before = (known or {}).get("rng"), (known or {}).get("before")
            return ReplayedPass(iter(batches), position, earlier, rng=rng, before=before)
        seed = derive_seed(self._setting.seed, position.data_pass, "stream")
        watch = self._threads.begin()
        isolated = IsolatedIterator(batches, seed, position.batch, private_of=self._data, watch=watch)
        # Not from an iterator: it cannot give a batch again that nobody has asked for.
        early = None if self._is_iterator else counting(self._memory)
        return ReplayedPass(isolated, position, earlier, is_isolated=True, early=early)

    def _warn_of_batch_in_hand(self, position: Position) -> None:
        if position.holds_batch and not self._is_isolated:
            warnings.warn(
                f"the run was left with a batch fetched for iteration {position.iteration + 1}: it is drawn again, "
                f"with other random numbers, as {type(self._data)} has no indices and no state_dict()",
                EngineWarning,
                stacklevel=2,
            )


class ReplayedPass(Pass):
    """A pass that knows how to be drawn again.

    Attributes:
        is_open: whether it was not closed yet.

    Args:
        batches: what gives the batches.
        position: where it is opened.
        earlier: passes that were drawn from the same iterator and left before its end.
        rng: where the generators stood when the first batch was drawn: it may have drawn an order then, after
            handlers had drawn numbers of their own. None: to be noted.
        before: where they stood before the batch drawn last; None where that is not known.
        has_ended: whether it has no more batches.
        is_isolated: whether it draws from streams of its own, wherever the generators stand.
        early: how a batch is fetched early; None where it must not be.
    """

    def __init__(
        self,
        batches: Iterator[Any],
        position: Position,
        earlier: Sequence[dict[str, Any]] = (),
        *,
        rng: dict[str, Any] | None = None,
        before: dict[str, Any] | None = None,
        has_ended: bool = False,
        is_isolated: bool = False,
        early: Early | None = None,
    ) -> None:
        super().__init__(batches, position, has_ended=has_ended, keeps_last_from=0, early=early)
        self.is_open = True
        self._rng = rng
        self._before = before
        self._standing: deque[GeneratorStates] = deque(maxlen=2)  # before the two batches drawn last
        self._earlier = list(earlier)
        self._is_isolated = is_isolated

    def __next__(self) -> Any:
        if not self._is_isolated:
            if self.given == 0 and self._rng is not None:
                restore_rng(self._rng)
            self._standing.append(read_rng())
            if self.given == 0 and self._rng is None:
                self._rng = self._standing[-1].saved()
        return super().__next__()

    def passes(self, *, left_out: int = 0) -> list[dict[str, Any]]:
        """Return what is drawn to come here again, without the last `left_out` batches; it loads safely."""
        drawn = self.given - left_out
        now = {"data_pass": self.data_pass, "drawn": drawn, "rng": self._rng, "before": self._before_last(left_out)}
        # Numbers that an iterator remembers were drawn at its very beginning, or a moment ago.
        earlier = [
            {**each, "before": None, **({"rng": None} if number else {})} for number, each in enumerate(self._earlier)
        ]
        return [*earlier, now]

    def _before_last(self, left_out: int) -> dict[str, Any] | None:
        """Return where the generators stood before the batch drawn last, but for the last `left_out` batches."""
        place = 1 + left_out + self.has_ended  # it was asked for one more at its end
        if place <= len(self._standing):
            return self._standing[-place].saved()
        return None if self._standing else self._before

    def close(self) -> None:
        """Let go of the batches."""
        super().close()
        self.is_open = False


def draws_by_itself(data: Any) -> bool:
    """Return whether some data draws from streams of its own: it has a loader inside, or is a library's pipeline."""
    return is_pipeline(data) or bool(find_loaders(data))
