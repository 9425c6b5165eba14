"""What a call of `run` is going to do: (arguments, state, what the last run left) -> one plan, or one clear error."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

from camshaft.engine._data import pass_length, require_data
from camshaft.engine._errors import ArgumentError
from camshaft.engine._last_run import LastRun
from camshaft.engine._position import Position, implied_position
from camshaft.engine._state import State, checked_epoch_length, checked_limits
from camshaft.engine._value import as_integer, length_of

RESTART_HINT = "set `engine.state.max_epochs = None` (or `max_iters`) to start a new run"


class RunPlan(NamedTuple):
    """Everything that a run is going to do, decided before anything changes.

    Attributes:
        data: the data to run over, None for runs whose batches are None.
        max_epochs, max_iters: the limit; exactly one of them is an integer.
        epoch_length: iterations in an epoch, None when the data has to tell.
        seed: base seed, None when none is given.
        resumed: whether an earlier run is continued.
        position: where the run begins.
    """

    data: Any
    max_epochs: int | None
    max_iters: int | None
    epoch_length: int | None
    seed: int | None
    resumed: bool
    position: Position

    def replace(self, **changes: Any) -> RunPlan:
        """Return this plan with some entries changed."""
        return self._replace(**changes)

    def limit_text(self) -> str:
        """Return how far the run goes, for its log."""
        limit = f"{self.max_epochs} epochs" if self.max_iters is None else f"{self.max_iters} iterations"
        return f"{limit}, epoch length {self.epoch_length or 'unknown'}"


class RunArguments(NamedTuple):
    """The arguments of `run`, counts checked."""

    data: Any
    max_epochs: int | None
    epoch_length: int | None
    seed: int | None
    max_iters: int | None

    @classmethod
    def checked(
        cls, data: Any, max_epochs: object, epoch_length: object, seed: object, max_iters: object
    ) -> RunArguments:
        """Check each argument by itself.

        Raises:
            ArgumentError: a count is no positive integer, `seed` is none, two limits are given, or the data is empty.
            ArgumentTypeError: `data` is not iterable.
        """
        require_data(data)
        if max_epochs is not None and max_iters is not None:
            raise ArgumentError(
                f"`max_epochs` and `max_iters` exclude each other, got {max_epochs!r} and {max_iters!r}; give one"
            )
        return cls(
            data,
            None if max_epochs is None else as_integer("max_epochs", max_epochs, least=1),
            None if epoch_length is None else as_integer("epoch_length", epoch_length, least=1),
            None if seed is None else as_integer("seed", seed),
            None if max_iters is None else as_integer("max_iters", max_iters, least=1),
        )


def make_plan(arguments: RunArguments, state: State[Any, Any], last: LastRun) -> RunPlan:
    """Decide between a new run and the continuation of the last one, and settle its limits.

    Raises:
        ArgumentError: an argument contradicts the run that is continued, there is no way to know how long an epoch
            is, or a limit in the state is no integer.
    """
    checked_limits(state)
    checked_epoch_length(state)
    position = last.position
    if _is_moved(state, position or Position()):
        return _moved_run(arguments, state, last)
    if position is not None and _continues(arguments, state, last, position):
        return _continuation(arguments, state, last, position)
    return _new_run(arguments, state, last)


def _continues(arguments: RunArguments, state: State[Any, Any], last: LastRun, position: Position) -> bool:
    if state.max_epochs is None and state.max_iters is None:
        return False
    if last.is_loaded or last.suspended is not None:
        return True
    if state.max_epochs == 1 and (last.was_terminated or not last.is_exact):
        return False  # one epoch, ended early: an evaluator's next run is a new one
    if not position.over or not position.is_finished(state.max_epochs, state.max_iters):
        return True
    # A finished run goes on when it is asked for more than it has done; a smaller limit is refused there.
    if state.max_iters is None:
        return arguments.max_epochs is not None and arguments.max_epochs != position.epoch
    return arguments.max_iters is not None and arguments.max_iters != position.iteration


def _new_run(arguments: RunArguments, state: State[Any, Any], last: LastRun) -> RunPlan:
    data, found = arguments.data, last.found_length
    length = _epoch_length(arguments, data)
    if length is None and data is not None and found is not None and found.data is data:
        length = found.length
    return RunPlan(
        data=data,
        max_epochs=1 if arguments.max_epochs is None and arguments.max_iters is None else arguments.max_epochs,
        max_iters=arguments.max_iters,
        epoch_length=length,
        seed=arguments.seed,
        resumed=False,
        position=Position(),
    )


def _continuation(arguments: RunArguments, state: State[Any, Any], last: LastRun, position: Position) -> RunPlan:
    max_epochs, max_iters = _continued_limits(arguments, state, position)
    data = state.dataloader if arguments.data is None else arguments.data
    epoch_length = state.epoch_length
    if epoch_length is None:
        epoch_length = _epoch_length(arguments, data)
    elif arguments.epoch_length not in (None, epoch_length):
        raise ArgumentError(
            f"`epoch_length` must stay {epoch_length} in a continued run, got {arguments.epoch_length}; {RESTART_HINT}"
        )
    if last.is_implied:
        length = pass_length(data, epoch_length)
        position = implied_position(position.iteration, epoch_length, length, over=position.over)
    elif not last.is_loaded and data is not state.dataloader and position.pass_open:
        position = position.at_next_pass()  # other data is started from its beginning
    if not position.is_finished(max_epochs, max_iters):
        position = position.with_work_left()
    seed = state.seed if arguments.seed is None else arguments.seed
    return RunPlan(data, max_epochs, max_iters, epoch_length, seed, resumed=True, position=position)


def _epoch_length(arguments: RunArguments, data: Any) -> int | None:
    """Return how long an epoch is: as asked for, else as long as the data; None where the data has to tell."""
    if arguments.epoch_length is not None:
        return arguments.epoch_length
    if data is None:
        raise ArgumentError("`epoch_length` must be given when `data` is None, got None")
    length = length_of(data)
    if length is None and hasattr(type(data), "__len__"):
        with suppress(TypeError, NotImplementedError):  # the usual ways to say that it is not known
            len(data)  # what else it raises is the user's to know: no `epoch_length` stands in for it
    return length


def _continued_limits(
    arguments: RunArguments, state: State[Any, Any], position: Position
) -> tuple[int | None, int | None]:
    for limit, other, counter in (("max_epochs", "max_iters", "epoch"), ("max_iters", "max_epochs", "iteration")):
        asked, other_limit, done = getattr(arguments, limit), getattr(state, other), getattr(position, counter)
        if asked is None:
            continue
        if other_limit is not None:
            raise ArgumentError(
                f"`{limit}` excludes the run's `{other}` ({other_limit}), got {asked}; "
                f"raise `{other}`, or set `engine.state.{other} = None` for a new run"
            )
        if asked < done:
            raise ArgumentError(
                f"`{limit}` must be greater than or equal to the run's {counter} ({done}), got {asked}; {RESTART_HINT}"
            )
        return arguments.max_epochs, arguments.max_iters
    return state.max_epochs, state.max_iters


# ---------------------------------------------------------------------- counters that a user has set


def _is_moved(state: State[Any, Any], left: Position) -> bool:
    """Return whether the counters differ from those that the run has left in the state."""
    return (state.epoch, state.iteration) != (left.epoch, left.iteration)


def _moved_run(arguments: RunArguments, state: State[Any, Any], last: LastRun) -> RunPlan:
    """Return the plan of a run whose counters were set between two calls of `run`, or before the first."""
    has_limit = state.max_epochs is not None or state.max_iters is not None
    if not has_limit and state.epoch == state.iteration == 0:  # a new state
        return _new_run(arguments, state, last)
    if has_limit:
        plan = _continuation(arguments, state, LastRun(is_loaded=True), Position())
    else:
        plan = _new_run(arguments, state, last)
    position = moved_position(state, last.position or Position(), plan)
    position = position._replace(over=position.is_finished(plan.max_epochs, plan.max_iters))
    return plan.replace(position=position, resumed=True, seed=plan.seed if plan.seed is not None else state.seed)


def moved_position(state: State[Any, Any], left: Position, plan: RunPlan) -> Position:
    """Return where a run stands whose `state.epoch` or `state.iteration` a user has set.

    A value that was left alone follows from the other one. Both are counts of what is done: iteration 25 of
    epochs of 10 goes with epoch 2, which is done, or with epoch 3, which has begun.

    Args:
        state: holds the counters now.
        left: where the run stood before.
        plan: the run's data, epoch length and limits.

    Raises:
        ArgumentError: a counter is no integer from 0, the two contradict each other or a limit, or the epoch
            length is not known.
    """
    epoch = as_integer("state.epoch", state.epoch, least=0)
    iteration = as_integer("state.iteration", state.iteration, least=0)
    length = plan.epoch_length
    if length is None:
        if epoch == iteration == 0:
            return Position()
        raise ArgumentError(
            f"`epoch_length` must be given when `state.epoch` or `state.iteration` is set, got {epoch} and {iteration}"
        )
    if iteration == left.iteration:
        iteration = epoch * length
    elif epoch not in (left.epoch, iteration // length, -(-iteration // length)):
        raise ArgumentError(
            f"`state.epoch` must fit to `state.iteration` ({iteration}) in epochs of {length} iterations, got {epoch}; "
            "set one of them, the other follows"
        )
    limit = plan.max_iters if plan.max_epochs is None else plan.max_epochs * length
    if limit is not None and iteration > limit:
        what = f"max_epochs ({plan.max_epochs})" if plan.max_iters is None else f"max_iters ({plan.max_iters})"
        raise ArgumentError(
            f"`state.epoch` and `state.iteration` must not exceed {what}, got epoch {epoch}, iteration {iteration}; "
            "raise the limit, or leave the counters alone"
        )
    return implied_position(iteration, length, pass_length(plan.data, length), over=False)
