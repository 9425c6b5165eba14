"""Where a run stands: the one model behind stopping, failing, continuing, saving and loading."""

from __future__ import annotations

from typing import Any, NamedTuple

from camshaft.engine._events import Events

NAMES = {event: event.name for event in Events}  # an enum takes two calls in Python to tell a member's name


class Position(NamedTuple):
    """Where a run stands, as a value.

    An event counts as fired from the moment its first handler is called. An iteration counts as
    done when its step has returned.

    Attributes:
        epoch: number of the current epoch, 1-based; 0 before the first.
        epoch_iteration: iterations done in it.
        iteration: iterations done in all.
        data_pass: how many times the data was started before the current pass; 0-based.
        batch: batches of that pass whose iteration is done.
        pass_open: whether the pass was started; False before the first fetch from fresh data.
        stage: name of the event with which the run goes on, should there be anything left.
        over: whether nothing is left: the last COMPLETED has been fired.
        awaits_data: whether DATALOADER_STOP_ITERATION has been fired in this epoch and no batch has come since.
        skips_epoch_completed: whether a TERMINATE_SINGLE_EPOCH to come leaves EPOCH_COMPLETED out.
        data_state: what the data's source has saved (`DataSource.state`), None when it saves nothing.
    """

    epoch: int = 0
    epoch_iteration: int = 0
    iteration: int = 0
    data_pass: int = 0
    batch: int = 0
    pass_open: bool = False
    stage: str = Events.EPOCH_STARTED.name
    over: bool = False
    awaits_data: bool = False
    skips_epoch_completed: bool = False
    data_state: Any = None

    @property
    def holds_batch(self) -> bool:
        """Whether a batch was fetched whose iteration is not done yet: `batch` does not count it."""
        return self.stage in (Events.ITERATION_STARTED.name, Events.ITERATION_COMPLETED.name)

    @property
    def next_event(self) -> str | None:
        """Name of the next event to fire, None when nothing is left.

        After the last epoch this is EPOCH_STARTED, because the limits of the run may still be raised. If they are
        not, COMPLETED is fired in its place.
        """
        return None if self.over else self.stage

    def is_finished(self, max_epochs: int | None, max_iters: int | None) -> bool:
        """Return whether the limits leave nothing but COMPLETED to do.

        Args:
            max_epochs, max_iters: the limits of the run; None where there is none.
        """
        if max_iters is not None and self.iteration >= max_iters:
            return self.stage not in (Events.EPOCH_COMPLETED.name, Events.TERMINATE_SINGLE_EPOCH.name)
        return max_epochs is not None and self.epoch >= max_epochs and self.stage == Events.EPOCH_STARTED.name

    def at_next_pass(self) -> Position:
        """Return the same place in the run, before the next pass; one that is not open yet is that already."""
        data_pass = self.data_pass + self.pass_open
        return self._replace(data_pass=data_pass, batch=0, pass_open=False, awaits_data=False, data_state=None)

    def with_work_left(self) -> Position:
        """Return where a run goes on whose limit has been raised."""
        if self.stage == Events.COMPLETED.name:  # `max_iters` had cut the epoch short
            return self._replace(stage=Events.GET_BATCH_STARTED.name, over=False)
        return self._replace(over=False, awaits_data=False) if self.over else self


def implied_position(iteration: int, epoch_length: int | None, pass_length: int | None, over: bool) -> Position:
    """Return the position that counters alone stand for: uniform epochs, uniform passes.

    At an epoch's end EPOCH_COMPLETED counts as fired, and the data is not started again yet: that
    happens inside the next epoch.

    Args:
        iteration: iterations done.
        epoch_length: iterations in an epoch; None only with `iteration` 0.
        pass_length: batches in a pass over the data; None for one pass that never ends.
        over: whether the run has nothing left to do.

    Examples:
        >>> position = implied_position(5, epoch_length=5, pass_length=10, over=False)
        >>> position.data_pass, position.batch, position.stage
        (0, 5, 'EPOCH_STARTED')
    """
    if iteration == 0 or epoch_length is None:
        return Position(over=over)
    epochs_done, into_epoch = divmod(iteration, epoch_length)
    data_pass = 0 if pass_length is None else (iteration - 1) // pass_length
    return Position(
        epoch=epochs_done + (1 if into_epoch else 0),
        epoch_iteration=into_epoch or epoch_length,
        iteration=iteration,
        data_pass=data_pass,
        batch=iteration - data_pass * (pass_length or 0),
        pass_open=True,
        stage=(Events.GET_BATCH_STARTED if into_epoch else Events.EPOCH_STARTED).name,
        over=over,
    )


class Cursor:
    """The position as the loop moves it through iterations: cheap to advance, exact at every moment.

    An iteration moves `done` and `stage`, and nothing else. Whatever else changes a position makes another
    cursor, which takes this one's place in one step: a run that is cut short anywhere, by a signal say,
    stands before the change or after it, never between.

    Attributes:
        done: iterations done in all.
        stage: the event with which the run goes on; see `stage_at`.
        epoch_start, pass_start: what `done` was when the epoch and the pass began.
        epoch, data_pass, pass_open, over, awaits_data, skips_epoch_completed, data_state: as in `Position`.
    """

    __slots__ = (
        "awaits_data", "data_pass", "data_state", "done", "epoch", "epoch_start", "over", "pass_open", "pass_start",
        "skips_epoch_completed", "stage",
    )  # fmt: skip

    def __init__(self, position: Position) -> None:
        self.done = position.iteration
        self.stage = Events[position.stage]
        self.epoch = position.epoch
        self.epoch_start = position.iteration - position.epoch_iteration
        self.data_pass = position.data_pass
        self.pass_start = position.iteration - position.batch
        self.pass_open = position.pass_open
        self.over = position.over
        self.skips_epoch_completed = position.skips_epoch_completed
        self.data_state = position.data_state
        self.awaits_data = position.awaits_data

    def stage_at(self, started: int) -> Events:
        """Return the event to go on with, when iteration number `started` was the last to start.

        Iterations that nobody listens to are not written down event by event: all the while the
        stage is GET_BATCH_COMPLETED, and the step is on when one more has started than is done.
        """
        if started > self.done and self.stage is Events.GET_BATCH_COMPLETED:
            return Events.ITERATION_COMPLETED
        return self.stage

    def holds_batch(self, started: int) -> bool:
        """Return whether a batch was fetched whose iteration is not done yet."""
        stage = self.stage_at(started)
        return stage is Events.ITERATION_STARTED or stage is Events.ITERATION_COMPLETED

    def moved(self, **changes: Any) -> Cursor:
        """Return another cursor, with some attributes changed."""
        other = object.__new__(Cursor)
        other.done, other.stage, other.epoch, other.epoch_start = self.done, self.stage, self.epoch, self.epoch_start
        other.data_pass, other.pass_start, other.pass_open = self.data_pass, self.pass_start, self.pass_open
        other.over, other.awaits_data, other.data_state = self.over, self.awaits_data, self.data_state
        other.skips_epoch_completed = self.skips_epoch_completed
        for name, value in changes.items():
            setattr(other, name, value)
        return other

    def at_next_epoch(self) -> Cursor:
        """Return where the next epoch stands once its EPOCH_STARTED is being fired."""
        return self.moved(
            epoch=self.epoch + 1, epoch_start=self.done, awaits_data=False, stage=Events.GET_BATCH_STARTED
        )

    def at_next_pass(self, **changes: Any) -> Cursor:
        """Return the same place in the run, before the next pass; one that is not open yet is that already."""
        data_pass = self.data_pass + self.pass_open
        return self.moved(
            data_pass=data_pass, pass_start=self.done, pass_open=False, data_state=None,
            **{"awaits_data": False, **changes},
        )  # fmt: skip

    def in_open_pass(self) -> Cursor:
        """Return the same place once the data is open there."""
        return self.moved(pass_open=True, data_state=None)

    def at_early_epoch_end(self, started: int, *, skips_epoch_completed: bool) -> Cursor:
        """Return where the epoch stands that ends now; the next one begins a new pass.

        An iteration whose ITERATION_STARTED was fired counts, so that no number is given out twice.

        Args:
            started: the number of the last iteration that was started.
            skips_epoch_completed: whether EPOCH_COMPLETED is left out.
        """
        cut_off = self.stage_at(started) is Events.ITERATION_COMPLETED
        return self.moved(done=self.done + cut_off).at_next_pass(
            stage=Events.TERMINATE_SINGLE_EPOCH, skips_epoch_completed=skips_epoch_completed
        )

    def is_finished(self, max_epochs: int | None, max_iters: int | None) -> bool:
        """Return whether the limits leave nothing but COMPLETED to do; see `Position.is_finished`."""
        return self.snapshot(self.done).is_finished(max_epochs, max_iters)

    def is_exhausted(self) -> bool:
        """Return whether the data was started again in this epoch and has given nothing since."""
        return self.awaits_data and self.done == self.pass_start

    def snapshot(self, started: int) -> Position:
        """Return the position as a value; `started` as for `stage_at`."""
        done = self.done
        return Position(  # by place, which costs half of by name: several processes make one at each vote
            self.epoch,
            done - self.epoch_start,
            done,
            self.data_pass,
            done - self.pass_start,
            self.pass_open,
            NAMES[self.stage_at(started)],
            self.over,
            self.is_exhausted(),
            self.skips_epoch_completed,
            self.data_state,
        )
