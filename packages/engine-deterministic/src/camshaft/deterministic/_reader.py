"""Reads data pass after pass, and knows at any moment where the next batch comes from."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar
from weakref import finalize

from camshaft.deterministic._kinds import RankedSource
from camshaft.deterministic._random._rng import unless_another_thread_isolates
from camshaft.deterministic._skip import Skip, next_kept
from camshaft.engine import EngineWarning, Events, Peekable, Position

P = ParamSpec("P")
R = TypeVar("R")
MakeSource: TypeAlias = Callable[[Skip], RankedSource]

# Where nothing was read yet. A reader has no batch in hand: it stands where the next one is fetched.
BEGINNING = Position(stage=Events.GET_BATCH_STARTED.name)


def _alone(method: Callable[Concatenate[Reader, P], R]) -> Callable[Concatenate[Reader, P], R]:
    """Refuse a call in the middle of another one. A signal finds the reader free again, wherever it comes."""

    @wraps(method)
    def call(self: Reader, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if self.is_busy:
            raise RuntimeError(
                "a ResumableLoader does one thing at a time: it was asked in the middle of a fetch, by another thread "
                "or by its own data; make a loader for each thread"
            )
        try:
            self.is_busy = True
            return method(self, *args, **kwargs)
        finally:
            self.is_busy = False

    return call


class Reader:
    """One process's way through the passes over some data.

    A pass is opened when its first batch is asked for. There is one iteration at a time: the one that began last. When
    it is dropped before its end, the place stays and the workers end.

    A signal may cut off any call. So what belongs together is stored without a call in between: no signal divides it.

    Attributes:
        given: how many batches of this pass are done with, those left out included.
        drawn: the same, with a batch that is on its way to the loop; None in the middle of a fetch.
        skip: batches that are left out.
        ended: number of the pass that was iterated to its end last; None before.
        is_moved: whether no iteration has begun since another place was taken up.
        is_busy: whether it is in the middle of a call.

    Args:
        make_source: returns what opens the passes; called with the batches that it is to leave out.
        skip: batches that the source leaves out.
        keeps_workers: whether workers live on when an iteration is dropped.
    """

    def __init__(self, make_source: MakeSource, skip: Skip, *, keeps_workers: bool) -> None:
        self.skip = skip
        self._make_source = make_source
        self._keeps_workers = keeps_workers
        self._source: RankedSource | None = None
        self._batches: Iterator[Any] | None = None  # of the pass that is open
        self._position = BEGINNING  # of the next batch; while a pass is open, `given` says which that is
        self.given = 0
        self.drawn: int | None = 0
        self._goes_on = True  # the next iteration begins at the position, not with the pass after it
        self._next_epoch: int | None = None  # asked for while a pass was open
        self._turn = 0  # number of the present iteration
        self._failure: Exception | None = None  # what the data raised when it was asked for its state
        self._doubt: BaseException | None = None  # what has cut off a fetch from data whose place is not known since
        self.ended: int | None = None
        self.is_moved = False
        self.is_busy = False

    @property
    def epoch(self) -> int:
        """Number of the pass of the next batch."""
        return self._position.data_pass

    @property
    def source(self) -> RankedSource:
        """What opens the passes; made when it is first needed."""
        if self._source is None:
            self._source = self._make_source(self.skip)
        return self._source

    # ------------------------------------------------------------------ iterating

    @_alone
    def begin(self, iteration: Iteration) -> int:
        """Make an iteration the present one, at the position or with the next pass; return its turn."""
        self._turn += 1
        self.is_moved = False
        if not self._goes_on:
            self._leave(closes=not self._keeps_workers)
            self._rest_at(self._next_position())
        finalize(iteration, self._drop, self._turn).atexit = False
        return self._turn

    @_alone
    def fetch(self, turn: int) -> tuple[Any, int]:
        """Return the next batch, for the iteration of a turn, and what `given` is to be set to when it has arrived.

        Raises:
            StopIteration: the pass is over.
            RuntimeError: a newer iteration has begun, or a state was loaded.
        """
        if turn != self._turn:
            raise RuntimeError(
                "this iteration of a ResumableLoader is over: a newer one has begun, or a state was loaded. A "
                "loader stands at one place; make one for each loop that goes on beside another"
            )
        self._give_back()
        batches = self._open() if self._batches is None else self._batches
        number = next_kept(self.skip, self.epoch, self.given)
        self.drawn = None
        try:
            batch = next(batches)
        except StopIteration:
            self.ended = self.epoch
            self._rest_at(self._next_position())
            raise
        except BaseException as error:
            self._cut_off(error)  # asked again, it fetches this batch again
            raise
        self.drawn = number + 1
        return batch, number + 1

    @_alone
    def peek(self, turn: int) -> tuple[Any, ...]:
        """Fetch the next batch early, for the iteration of a turn; nothing where that is not possible."""
        if turn != self._turn or self.drawn != self.given or not isinstance(self._batches, Peekable):
            return ()
        self.drawn = None
        try:
            batches = self._batches.peek()
        except BaseException as error:
            self._cut_off(error)
            raise
        self.drawn = self.given
        return batches

    def _give_back(self) -> None:
        """Let go of a pass whose last batch has not reached the loop: an interrupt came between."""
        if self._batches is not None and self.drawn != self.given:
            self._cut_off(KeyboardInterrupt())

    def _cut_off(self, error: BaseException) -> None:
        self._leave(closes=True)
        self._doubt = None if self.source.opens_by_index else error

    def _warn_of_doubt(self) -> None:
        if self._doubt is not None:
            warnings.warn(
                f"a fetch was cut off by {self._doubt!r}: whether this kind of data has moved on is not known, so that "
                f"batch {self.given} of epoch {self.epoch} may be lost",
                EngineWarning,
                stacklevel=4,
            )

    def _open(self) -> Iterator[Any]:
        self._warn_of_doubt()
        try:
            batches = self.source.open(self._position)
        except BaseException:
            self.source.close()  # its workers fetch ahead
            raise
        position = self._position._replace(pass_open=True, data_state=None)
        self._position, self._batches, self.drawn = position, batches, self.given
        self._goes_on, self._doubt = False, None
        return batches

    def _drop(self, turn: int) -> None:
        """Follow the end of an iteration that nobody refers to any more.

        Python may call this anywhere: in a thread of some data, say, for which the thread that is isolating waits. Then
        it is left to the next call, which finds the place as it is.
        """
        if turn == self._turn:
            with unless_another_thread_isolates() as is_free:
                if is_free:
                    self._leave(closes=not self._keeps_workers)

    def _leave(self, *, closes: bool) -> None:
        """Let go of the open pass; the place in it stays, with what the data saves there."""
        if self._batches is None:
            return
        position, failure = self._position, None
        try:
            position = self._open_position()
        except Exception as error:  # noqa: BLE001  # whatever it is, `position` raises it when it is asked
            failure = error
        self._position, self._failure, self._batches = position, failure, None
        if closes:
            self.source.close()

    def _open_position(self) -> Position:
        position = self._position._replace(batch=self.given)
        return position._replace(data_state=self.source.state(position))

    def _next_position(self) -> Position:
        position = self._position.at_next_pass()
        return position if self._next_epoch is None else position._replace(data_pass=self._next_epoch)

    def _rest_at(self, position: Position) -> None:
        given = position.batch
        self._position, self._batches, self.given, self.drawn = position, None, given, given
        self._goes_on, self._next_epoch, self._failure, self._doubt = True, None, None, None

    # ------------------------------------------------------------------ the place

    @_alone
    def position(self) -> Position:
        """Return where the next batch comes from, with what the data saves there.

        Raises:
            RuntimeError: the data has raised an error when it was asked.
        """
        if self._failure is not None:
            raise RuntimeError(f"the data could not say where it was left: {self._failure!r}") from self._failure
        self._give_back()
        self._warn_of_doubt()
        if self._batches is not None:
            return self._open_position()
        position = self._position
        if position.pass_open or position.data_state is not None or self._source is None:
            return position
        return position._replace(data_state=self._source.state(position))

    @_alone
    def move_to(self, position: Position, make_source: MakeSource, skip: Skip) -> None:
        """Take up another place, with another source; the present iteration is over.

        Args:
            position: where the next batch comes from.
            make_source, skip: as at construction.

        Raises:
            ResumeMismatch: what is drawn again between two passes comes out differently; nothing has changed.
        """
        old, new = self._source, None
        if not position.pass_open and position.data_state is not None:
            new = make_source(skip)
            new.recall(position)
        self._rest_at(position)
        self._turn, self._source, self._make_source, self.skip = self._turn + 1, new, make_source, skip
        self.is_moved = True
        if old is not None:
            old.close()

    @_alone
    def turn_to(self, epoch: int) -> None:
        """Let the next iteration begin with the pass `epoch`; one that was to go on inside this pass still does."""
        if self._batches is not None:
            self._next_epoch = epoch
        elif self._goes_on and not self._position.pass_open:
            self._position = self._position._replace(data_pass=epoch)
        elif not self._goes_on or epoch != self.epoch:
            self._give_up_pass()
            self._rest_at(self._next_position()._replace(data_pass=epoch))

    def _give_up_pass(self) -> None:
        """Bring data with a memory to a loaded place: it goes to another pass from there."""
        if self._goes_on and self._position.data_state is not None:
            self.source.open(self._position)


class Iteration(Peekable):
    """One iteration over the batches of a reader; it begins when its first batch is asked for.

    Args:
        reader: what it reads from.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._turn: int | None = None
        self._has_ended = False

    def __next__(self) -> Any:
        reader = self._reader
        if self._has_ended:
            raise StopIteration
        if self._turn is None:
            self._turn = reader.begin(self)
        try:
            batch, number = reader.fetch(self._turn)
        except StopIteration:
            self._has_ended = True
            raise
        reader.given = number  # and no call any more: no signal finds a batch that counts and is not returned
        return batch

    def peek(self) -> tuple[Any, ...]:
        """Fetch the next batch early, once the iteration has begun and where the data allows it."""
        return () if self._turn is None or self._has_ended else self._reader.peek(self._turn)
