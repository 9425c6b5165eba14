"""Reads data pass after pass, and knows at any moment where the next batch comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias
from weakref import finalize

from camshaft.deterministic._kinds import RankedSource
from camshaft.deterministic._skip import Skip, next_kept
from camshaft.engine import Events, Position

MakeSource: TypeAlias = Callable[[Skip], RankedSource]

# Where nothing was read yet. A reader has no batch in hand: it stands where the next one is fetched.
BEGINNING = Position(stage=Events.GET_BATCH_STARTED.name)


class Reader:
    """One process's way through the passes over some data.

    A pass is opened when its first batch is asked for. There is one iteration at a time: the one that began last. When
    it is dropped before its end, the place stays and the workers end.

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
        self._position = BEGINNING  # of the next batch; while a pass is open, `_given` says which that is
        self._given = 0
        self._goes_on = True  # the next iteration begins at the position, not with the pass after it
        self._next_epoch: int | None = None  # asked for while a pass was open
        self._turn = 0  # number of the present iteration
        self._failure: Exception | None = None  # what the data raised when it was asked for its state
        self._is_busy = False

    @property
    def epoch(self) -> int:
        """Number of the pass of the next batch."""
        return self._position.data_pass

    @property
    def index(self) -> int:
        """How many batches of this pass are done with, those left out included."""
        return self._given

    @property
    def source(self) -> RankedSource:
        """What opens the passes; made when it is first needed."""
        if self._source is None:
            self._source = self._make_source(self.skip)
        return self._source

    # ------------------------------------------------------------------ iterating

    def begin(self, iteration: Iteration) -> int:
        """Make an iteration the present one, at the position or with the next pass; return its turn."""
        with self._alone():
            self._turn += 1
            if not self._goes_on:
                self._leave(closes=not self._keeps_workers)
                self._rest_at(self._next_position())
            finalize(iteration, self._drop, self._turn).atexit = False
            return self._turn

    def next(self, turn: int) -> Any:
        """Return the next batch, for the iteration of a turn.

        Raises:
            StopIteration: the pass is over.
            RuntimeError: a newer iteration has begun, or a state was loaded.
        """
        with self._alone():
            if turn != self._turn:
                raise RuntimeError(
                    "this iteration of a ResumableLoader is over: a newer one has begun, or a state was loaded. A "
                    "loader stands at one place; make one for each loop that goes on beside another"
                )
            if self._batches is None:
                self._open()
            try:
                batch = next(self._batches)  # type: ignore[arg-type]  # opened above
            except StopIteration:
                self._batches = None
                self._rest_at(self._next_position())
                raise
            except BaseException:
                self._leave(closes=True)  # asked again, it fetches this batch again
                raise
            self._given = next_kept(self.skip, self.epoch, self._given) + 1
            return batch

    def _open(self) -> None:
        self._batches = self.source.open(self._position)
        self._position = self._position._replace(pass_open=True, data_state=None)
        self._goes_on = False

    def _drop(self, turn: int) -> None:
        """Follow the end of an iteration that nobody refers to any more."""
        if turn == self._turn:
            self._leave(closes=not self._keeps_workers)

    def _leave(self, *, closes: bool) -> None:
        """Let go of the open pass; the place in it stays, with what the data saves there."""
        if self._batches is None:
            return
        try:
            self._position = self._open_position()
        except Exception as error:  # noqa: BLE001  # whatever it is, `position` raises it when it is asked
            self._failure = error
        self._batches = None
        if closes:
            self.source.close()

    def _open_position(self) -> Position:
        position = self._position._replace(batch=self._given)
        return position._replace(data_state=self.source.state(position))

    def _next_position(self) -> Position:
        position = self._position.at_next_pass()
        epoch, self._next_epoch = self._next_epoch, None
        return position if epoch is None else position._replace(data_pass=epoch)

    def _rest_at(self, position: Position) -> None:
        self._position, self._given = position, position.batch
        self._goes_on, self._failure = True, None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._is_busy:
            raise RuntimeError(
                "a ResumableLoader does one thing at a time: it was asked in the middle of a fetch, by another thread "
                "or by its own data; make a loader for each thread"
            )
        try:
            self._is_busy = True
            yield
        finally:
            self._is_busy = False

    # ------------------------------------------------------------------ the place

    def position(self) -> Position:
        """Return where the next batch comes from, with what the data saves there.

        Raises:
            RuntimeError: the data has raised an error when it was asked.
        """
        with self._alone():
            if self._failure is not None:
                raise RuntimeError(f"the data could not say where it was left: {self._failure!r}") from self._failure
            if self._batches is not None:
                return self._open_position()
            position = self._position
            if position.pass_open or position.data_state is not None or self._source is None:
                return position
            return position._replace(data_state=self._source.state(position))

    def move_to(self, position: Position, make_source: MakeSource, skip: Skip) -> None:
        """Take up another place, with another source; the present iteration is over.

        Args:
            position: where the next batch comes from.
            make_source, skip: as at construction.
        """
        with self._alone():
            self._turn += 1
            self._make_source, self.skip = make_source, skip
            self._batches, self._next_epoch = None, None
            source, self._source = self._source, None
            self._rest_at(position)
            if source is not None:
                source.close()

    def turn_to(self, epoch: int) -> None:
        """Let the next iteration begin with the pass `epoch`; one that was to go on inside this pass still does."""
        with self._alone():
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


class Iteration(Iterator[Any]):
    """One iteration over the batches of a reader; it begins when its first batch is asked for.

    Args:
        reader: what it reads from.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._turn: int | None = None
        self._has_ended = False

    def __next__(self) -> Any:
        if self._has_ended:
            raise StopIteration
        if self._turn is None:
            self._turn = self._reader.begin(self)
        try:
            return self._reader.next(self._turn)
        except StopIteration:
            self._has_ended = True
            raise
