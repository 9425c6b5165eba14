"""What a call of `run` is going to do: (arguments, state, where it stands) -> one plan, or one clear error."""

from __future__ import annotations

from typing import Any, NamedTuple

from camshaft.engine._errors import ArgumentError
from camshaft.engine._position import Position, implied_position
from camshaft.engine._source import data_length, require_data
from camshaft.engine._state import State
from camshaft.engine._value import as_integer, is_integer

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


class Request(NamedTuple):
    """The arguments of `run`, counts checked."""

    data: Any
    max_epochs: int | None
    epoch_length: int | None
    seed: int | None
    max_iters: int | None

    @classmethod
    def checked(cls, data: Any, max_epochs: object, epoch_length: object, seed: object, max_iters: object) -> Request:
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
        if seed is not None and not is_integer(seed):
            raise ArgumentError(f"`seed` must be an integer, got {seed!r}")
        return cls(
            data,
            None if max_epochs is None else as_integer("max_epochs", max_epochs, least=1),
            None if epoch_length is None else as_integer("epoch_length", epoch_length, least=1),
            None if seed is None else int(seed),  # type: ignore[call-overload]  # an integer, asked above
            None if max_iters is None else as_integer("max_iters", max_iters, least=1),
        )


class Standing(NamedTuple):
    """How the engine stands when `run` is called.

    Attributes:
        position: where the last run, or the loaded state, stands; None before the first.
        is_implied: the position is to be derived from the counters (a loaded plain dict).
        is_loaded: a state was loaded since the last run: it always continues.
        is_suspended: the last run was interrupted.
        is_spent: the last run has work left but is not continued: one epoch, ended early.
        known_length: what the length of `state.dataloader` was found to be.
    """

    position: Position | None = None
    is_implied: bool = False
    is_loaded: bool = False
    is_suspended: bool = False
    is_spent: bool = False
    known_length: int | None = None


def make_plan(request: Request, state: State[Any, Any], standing: Standing) -> RunPlan:
    """Decide between a new run and the continuation of the last one, and settle its limits.

    Raises:
        ArgumentError: an argument contradicts the run that is continued, or there is no way to
            know how long an epoch is.
    """
    if standing.position is not None and _continues(request, state, standing):
        return _continuation(request, state, standing, standing.position)
    return _new_run(request, state, standing)


def _continues(request: Request, state: State[Any, Any], standing: Standing) -> bool:
    position = standing.position
    if position is None or (state.max_epochs is None and state.max_iters is None):
        return False
    if standing.is_loaded or standing.is_suspended:
        return True
    if standing.is_spent:
        return False
    if not position.over or not position.is_finished(state.max_epochs, state.max_iters):
        return True
    # A finished run goes on when it is asked for more than it has done; a smaller limit is refused there.
    if state.max_iters is None:
        return request.max_epochs is not None and request.max_epochs != position.epoch
    return request.max_iters is not None and request.max_iters != position.iteration


def _new_run(request: Request, state: State[Any, Any], standing: Standing) -> RunPlan:
    length = request.epoch_length or data_length(request.data)
    if length is None and request.data is not None and request.data is state.dataloader:
        length = standing.known_length
    if length is None and request.data is None:
        raise ArgumentError("`epoch_length` must be given when `data` is None, got None")
    return RunPlan(
        data=request.data,
        max_epochs=1 if request.max_epochs is None and request.max_iters is None else request.max_epochs,
        max_iters=request.max_iters,
        epoch_length=length,
        seed=request.seed,
        resumed=False,
        position=Position(),
    )


def _continuation(request: Request, state: State[Any, Any], standing: Standing, position: Position) -> RunPlan:
    max_epochs, max_iters = _continued_limits(request, state, position)
    epoch_length = state.epoch_length
    if epoch_length is None:
        epoch_length = request.epoch_length or data_length(request.data)
    elif request.epoch_length not in (None, epoch_length):
        raise ArgumentError(
            f"`epoch_length` must stay {epoch_length} in a continued run, got {request.epoch_length}; {RESTART_HINT}"
        )
    data = state.dataloader if request.data is None else request.data
    if data is None and epoch_length is None:
        raise ArgumentError("`epoch_length` must be given when `data` is None, got None")
    if standing.is_implied:
        position = implied_position(position.iteration, epoch_length, data_length(data), over=position.over)
    elif not standing.is_loaded and data is not state.dataloader and position.pass_open:
        # Other data is started from its beginning.
        position = position.at_next_pass()
    if not position.is_finished(max_epochs, max_iters):
        position = position.with_work_left()
    seed = state.seed if request.seed is None else request.seed
    return RunPlan(data, max_epochs, max_iters, epoch_length, seed, resumed=True, position=position)


def _continued_limits(request: Request, state: State[Any, Any], position: Position) -> tuple[int | None, int | None]:
    for limit, other, counter in (("max_epochs", "max_iters", "epoch"), ("max_iters", "max_epochs", "iteration")):
        asked, standing, done = getattr(request, limit), getattr(state, other), getattr(position, counter)
        if asked is None:
            continue
        if standing is not None:
            raise ArgumentError(
                f"`{limit}` excludes the run's `{other}` ({standing}), got {asked}; "
                f"set `engine.state.{other} = None` first"
            )
        if asked < done:
            raise ArgumentError(
                f"`{limit}` must be greater than or equal to the run's {counter} ({done}), got {asked}; {RESTART_HINT}"
            )
        return request.max_epochs, request.max_iters
    return state.max_epochs, state.max_iters
