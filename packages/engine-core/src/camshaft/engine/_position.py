"""Where a run stands: the one model behind stopping, failing, continuing, saving and loading."""

from __future__ import annotations

from typing import Any, NamedTuple

from camshaft.engine._events import Events


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
        data_state: what the data itself saved (`data.state_dict()`), None for data without one.
    """

    epoch: int = 0
    epoch_iteration: int = 0
    iteration: int = 0
    data_pass: int = 0
    batch: int = 0
    pass_open: bool = False
    stage: str = Events.EPOCH_STARTED.name
    over: bool = False
    data_state: Any = None

    @property
    def next_event(self) -> str | None:
        """Name of the next event to fire, None when nothing is left.

        After the last epoch this is EPOCH_STARTED: whether COMPLETED comes in its place is for the
        limits to say, which may be raised.
        """
        return None if self.over else self.stage


def implied_position(iteration: int, epoch_length: int | None, data_length: int | None, over: bool) -> Position:
    """Return the position that counters alone stand for: uniform epochs, uniform passes.

    At an epoch's end EPOCH_COMPLETED counts as fired, and the data is not started again yet: that
    happens inside the next epoch.

    Args:
        iteration: iterations done.
        epoch_length: iterations in an epoch; None only with `iteration` 0.
        data_length: batches in a pass; None when unknown, then a pass is an epoch long.
        over: whether the run has nothing left to do.

    Examples:
        >>> position = implied_position(5, epoch_length=5, data_length=10, over=False)
        >>> position.data_pass, position.batch, position.stage
        (0, 5, 'EPOCH_STARTED')
    """
    if iteration == 0 or epoch_length is None:
        return Position(over=over)
    epochs_done, into_epoch = divmod(iteration, epoch_length)
    pass_length = data_length or epoch_length
    data_pass = (iteration - 1) // pass_length
    return Position(
        epoch=epochs_done + (1 if into_epoch else 0),
        epoch_iteration=into_epoch or epoch_length,
        iteration=iteration,
        data_pass=data_pass,
        batch=iteration - data_pass * pass_length,
        pass_open=True,
        stage=(Events.GET_BATCH_STARTED if into_epoch else Events.EPOCH_STARTED).name,
        over=over,
    )


class Cursor:
    """The position as the loop moves it: cheap to advance, exact at every moment.

    The counts inside the epoch and the pass follow from where each began, so that an iteration
    moves one number only.

    Attributes:
        done: iterations done in all.
        epoch_start, pass_start: what `done` was when the epoch and the pass began.
        stage: the event with which the run goes on. Where nobody listens to the four events of an
            iteration the loop does not write them down: see `stage_at`.
        over: whether nothing is left.
        skips_epoch_completed: whether a pending TERMINATE_SINGLE_EPOCH leaves EPOCH_COMPLETED out.
    """

    __slots__ = (
        "data_pass", "data_state", "done", "epoch", "epoch_start", "over", "pass_open", "pass_start",
        "skips_epoch_completed", "stage",
    )  # fmt: skip

    def __init__(self, position: Position) -> None:
        self.done = position.iteration
        self.epoch = position.epoch
        self.epoch_start = position.iteration - position.epoch_iteration
        self.data_pass = position.data_pass
        self.pass_start = position.iteration - position.batch
        self.pass_open = position.pass_open
        self.data_state = position.data_state
        self.stage = Events[position.stage]
        self.over = position.over
        self.skips_epoch_completed = False

    def stage_at(self, started: int) -> Events:
        """Return the event to go on with, when iteration number `started` was the last to start."""
        return Events.ITERATION_COMPLETED if started > self.done else self.stage

    def next_pass(self) -> None:
        """Turn to the beginning of the next pass, which is not opened yet."""
        self.data_pass += 1
        self.pass_start = self.done
        self.pass_open = False
        self.data_state = None

    def snapshot(self, started: int, data_state: Any = None) -> Position:
        """Return the position as a value; `started` as for `stage_at`."""
        return Position(
            epoch=self.epoch,
            epoch_iteration=self.done - self.epoch_start,
            iteration=self.done,
            data_pass=self.data_pass,
            batch=self.done - self.pass_start,
            pass_open=self.pass_open,
            stage=self.stage_at(started).name,
            over=self.over,
            data_state=self.data_state if data_state is None else data_state,
        )
