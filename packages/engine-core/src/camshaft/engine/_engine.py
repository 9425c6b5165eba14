"""The engine: holds the step, the state and the handlers; runs."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic

from camshaft.engine._calling import require_step
from camshaft.engine._control import running
from camshaft.engine._controllable import Controllable
from camshaft.engine._describe import describe
from camshaft.engine._errors import ArgumentTypeError, EngineWarning, RunningError
from camshaft.engine._event_source import EventSource
from camshaft.engine._firing import Suspended
from camshaft.engine._loop import Loop
from camshaft.engine._plan import Request, RunPlan, Standing, make_plan
from camshaft.engine._position import Cursor, Position, implied_position
from camshaft.engine._saved import Saved, read, write
from camshaft.engine._source import data_length, is_stateful, open_data
from camshaft.engine._state import RUN_FIELDS, Batch, Output, State
from camshaft.engine._value import Stateful

if TYPE_CHECKING:
    from logging import Logger

# Keys of a saved deterministic engine, which a plain one can do nothing with.
FOREIGN_KEYS = ("rng_states", "deterministic")


class Engine(EventSource, Controllable, Generic[Batch, Output]):
    """Calls `process_function(engine, batch)` for each batch and fires events around it.

    Attributes:
        process_function: the step, called once per iteration; what it returns is `state.output`.
        last_event_name: the last event fired, None before the first run. Informational only.
        state_dict_user_keys: names of attributes of the state that are saved with the engine.
        stateful: objects with `state_dict` and `load_state_dict` that are saved with the engine, by name.

    Args:
        process_function: called as `process_function(engine, batch)`.

    Raises:
        ArgumentError: it is not callable with two arguments.

    Examples:
        >>> from camshaft.engine import Events
        >>> engine = Engine(lambda engine, batch: 2 * batch)
        >>> @engine.on(Events.ITERATION_COMPLETED(every=2))
        ... def show(engine):
        ...     print(engine.state.iteration, engine.state.output)
        >>> state = engine.run([1, 2, 3, 4])
        2 4
        4 8
    """

    def __init__(self, process_function: Callable[[Engine[Batch, Output], Batch], Output]) -> None:
        require_step(process_function)
        Controllable.__init__(self)
        EventSource.__init__(self, on_change=self._control.notice)
        self.process_function = process_function
        self._logger: Logger | None = None
        self.state_dict_user_keys: list[str] = []
        self.stateful: dict[str, Stateful] = {}
        self._cursor: Cursor | None = None
        self._standing = Standing()
        self._suspended: Suspended | None = None
        self.state = State()

    if TYPE_CHECKING:
        state: State[Batch, Output]
    else:

        def _replace_state(self, state: State[Batch, Output]) -> None:
            """Take over a new state; in a run, what the run has set on the old one goes along."""
            if not isinstance(state, State):
                raise ArgumentTypeError(f"`state` must be a State, got {state!r}")
            if self._control.is_running:
                for field in RUN_FIELDS:
                    setattr(state, field, getattr(self._state, field))
            state.event_counters = self._registry.counters
            for attribute in self._registry.counters.values():
                if not hasattr(state, attribute):
                    setattr(state, attribute, 0)
            self._state = state
            self._control.notice()

        state = property(lambda self: self._state, _replace_state, doc="What a run shares with its handlers.")

    @property
    def logger(self) -> Logger:
        """The logger that is told about the start, each epoch and the end of a run; may be replaced."""
        if self._logger is None:
            # Imported here: logging takes longer to load than all of this package.
            import logging

            self._logger = logging.getLogger(f"{type(self).__module__}.{type(self).__qualname__}")
        return self._logger

    @logger.setter
    def logger(self, logger: Logger) -> None:
        self._logger = logger

    # ------------------------------------------------------------------ running

    def run(
        self,
        data: Any = None,
        max_epochs: int | None = None,
        epoch_length: int | None = None,
        seed: int | None = None,
        *,
        max_iters: int | None = None,
    ) -> State[Batch, Output]:
        """Run the process function over `data`, for a number of epochs or of iterations.

        A first call, or a call on a finished run, starts a new run. When the last run has work
        left (it was interrupted, terminated, failed, or its state was loaded) it is continued at
        exactly the event that would have come next. In pseudocode, `fire` calling the handlers
        of an event in the order of attaching::

            fire STARTED                                  # not when an interrupted run goes on
            for each epoch:
                fire EPOCH_STARTED
                for each iteration of the epoch:
                    fire GET_BATCH_STARTED                # no GET_BATCH_* when data is None
                    batch = next(iterator)
                    if the data has ended:
                        fire DATALOADER_STOP_ITERATION
                        iterator = iter(state.dataloader); batch = next(iterator)
                    fire GET_BATCH_COMPLETED
                    iteration += 1
                    fire ITERATION_STARTED
                    output = process_function(engine, batch)
                    fire ITERATION_COMPLETED
                fire EPOCH_COMPLETED
            fire COMPLETED

            terminate():        ... the current event, TERMINATE, COMPLETED
            terminate_epoch():  ... the current event, TERMINATE_SINGLE_EPOCH, EPOCH_COMPLETED, the next epoch
            interrupt():        ... the current event, INTERRUPT
            an exception:       EXCEPTION_RAISED, then it propagates

        Args:
            data: an iterable of batches, or an iterator. None runs `epoch_length` iterations per epoch
                whose batch is None; on a continued run, None means the data it had.
            max_epochs: epochs to run in all, default 1. On a continued run at least `state.epoch`.
            epoch_length: iterations in an epoch, default `len(data)`; where that is unknown, an epoch ends with the
                iterator. A continued run does not change it.
            seed: base seed for engines that use one; kept in `state.seed`.
            max_iters: iterations to run in all, instead of `max_epochs`.

        Returns:
            The engine's state.

        Raises:
            ArgumentError: an argument is out of range, contradicts the run that is continued, or the
                data has no batch.
            ArgumentTypeError: `data` is not iterable.
            RunningError: called inside a run of this engine.

        Examples:
            >>> engine = Engine(lambda engine, batch: batch)
            >>> engine.run([1, 2, 3], max_epochs=2).iteration
            6
            >>> engine.run(range(10), max_iters=4).iteration
            4
        """
        if self._control.is_running:
            raise RunningError("run() must not be called inside a run of the same engine; use another engine")
        pending = self._control.next_data if data is None else None
        request = Request.checked(pending if data is None else data, max_epochs, epoch_length, seed, max_iters)
        plan = self.prepare(make_plan(request, self.state, self._current_standing()))
        if plan.resumed and plan.position.over:
            warnings.warn(
                "the run is finished, nothing is left to do; raise its limit to go on", EngineWarning, stacklevel=2
            )
            self._standing = self._standing._replace(is_loaded=False)
            return self.state
        self._run_loop(self._enter(plan))
        return self.state

    def _enter(self, plan: RunPlan) -> Loop:
        """Change the engine from standing to running: nothing can be refused any more."""
        state, suspended = self.state, self._suspended
        if suspended is not None and plan.resumed and plan.data is not state.dataloader:
            suspended = suspended._replace(iterator=None, batch=None, has_batch=False, new_data=False)
        self._standing = Standing(known_length=self._standing.known_length if plan.data is state.dataloader else None)
        if not plan.resumed:
            suspended = None
            self._reset_state()
        state.dataloader, state.epoch_length, state.seed = plan.data, plan.epoch_length, plan.seed
        state.max_epochs, state.max_iters, state.resumed = plan.max_epochs, plan.max_iters, plan.resumed
        state.epoch, state.iteration = plan.position.epoch, plan.position.iteration
        self._control.clear()
        self._honour_early_terminate()
        self._registry.rewind()
        self._control.next_data = self._suspended = None
        self._cursor = Cursor(plan.position)
        return Loop(self, plan, self._cursor, self._registry, self._control, suspended)

    def _reset_state(self) -> None:
        state = self.state
        for attribute in {*self._registry.counters.values()}:
            setattr(state, attribute, 0)
        state.batch = state.output = None
        state.times.update(EPOCH_COMPLETED=None, COMPLETED=None)

    def _run_loop(self, loop: Loop) -> None:
        failed = True
        self._control.is_running = True
        running.controls.append(self._control)
        try:
            self.logger.info("run %s: %s", "continues" if loop.plan.resumed else "starts", _limit_text(loop.plan))
            try:
                loop.run()
                failed = False
            except BaseException as error:
                if not loop.fail(error):
                    raise
        finally:
            self._leave(loop, failed)

    def _leave(self, loop: Loop, failed: bool) -> None:
        """Change the engine from running to standing, however the run ended."""
        control, state = self._control, self.state
        try:
            loop.leave()
        finally:
            running.controls.remove(control)
            control.is_running = False
            self._suspended = loop.suspended
            stopped_early = failed or control.terminate
            self._standing = self._standing._replace(
                is_suspended=loop.suspended is not None, is_spent=stopped_early and state.max_epochs == 1
            )
        self.logger.info("run ends: epoch %d, iteration %d", state.epoch, state.iteration)

    def _honour_early_terminate(self) -> None:
        control = self._control
        if control.early_terminate is not None:
            warnings.warn("terminate() was called before this run: it ends after STARTED", EngineWarning, stacklevel=4)
            control.terminate, control.skip_completed = True, control.early_terminate
            control.early_terminate = None
            control.notice()

    def _current_standing(self) -> Standing:
        cursor = self._cursor
        return self._standing if cursor is None else self._standing._replace(position=cursor.snapshot(cursor.done))

    # ------------------------------------------------------------------ hooks for derived engines

    def prepare(self, plan: RunPlan) -> RunPlan:
        """Look at what a run is going to do, before anything changes; for derived classes.

        Args:
            plan: everything that is known about the run.

        Returns:
            The plan to follow, changed or not.
        """
        return plan

    def open_data(self, data: Any, position: Position) -> Iterator[Any]:
        """Return an iterator over the batches of `data` still to come; for derived classes.

        Called whenever the run needs an iterator: at the start of each pass (`position.pass_open`
        is False) after the handlers of EPOCH_STARTED, and to open a pass again behind
        `position.batch` batches. Sequences are opened by index, data with
        `state_dict`/`load_state_dict` through those, an iterator goes on where it is.

        Warns:
            EngineWarning: other data cannot be opened inside a pass and starts at its beginning.
        """
        return open_data(data, position)

    def resume(self, data: Any, position: Position) -> Iterator[Any] | None:
        """Re-create what a continued run needs, between STARTED and its next event; for derived classes.

        Returns:
            The opened data when `position` is inside a pass; None leaves opening it for later.
        """
        return self.open_data(data, position) if position.pass_open else None

    def data_state(self, data: Any) -> Any:
        """Return what `data` saves of its own position, None when it saves nothing; for derived classes."""
        return data.state_dict() if is_stateful(data) else None

    # ------------------------------------------------------------------ where the run stands

    @property
    def position(self) -> Position:
        """Where the run stands: after a loaded plain dict, as far as it is known before `run`."""
        cursor, position = self._cursor, self._standing.position
        if cursor is not None:
            return cursor.snapshot(self.state.iteration)
        if position is None:
            return Position()
        if self._standing.is_implied:
            length = data_length(self.state.dataloader)
            return implied_position(position.iteration, self.state.epoch_length, length, over=position.over)
        return position

    def _saved_position(self) -> Position:
        """Return `position` together with what the data saves, which may be costly to ask.

        What was saved before counts until the run has opened the data.
        """
        position = self.position
        if self._cursor is None or not position.pass_open or position.data_state is not None:
            return position
        return position._replace(data_state=self.data_state(self.state.dataloader))

    def note_length(self, length: int) -> None:
        """Remember how many iterations an epoch of `state.dataloader` turned out to have."""
        self._standing = self._standing._replace(known_length=length)

    # ------------------------------------------------------------------ saving

    def state_dict(self) -> OrderedDict[str, Any]:
        """Return where the run stands, as integers, strings, lists and dicts.

        Entries: epoch_length, max_epochs or max_iters, iteration (done ones), the user keys; seed
        when there is one; position when the counters do not imply it; stateful when objects are registered.

        Examples:
            >>> engine = Engine(lambda engine, batch: batch)
            >>> state = engine.run([1, 2, 3], max_epochs=2)
            >>> dict(engine.state_dict())
            {'epoch_length': 3, 'max_epochs': 2, 'iteration': 6}
        """
        state, position = self.state, self._saved_position()
        # A handler may have lowered a limit below what is done already.
        max_epochs = None if state.max_epochs is None else max(state.max_epochs, position.epoch)
        max_iters = None if state.max_iters is None else max(state.max_iters, position.iteration)
        over = position.is_finished(max_epochs, max_iters)
        implied = implied_position(position.iteration, state.epoch_length, data_length(state.dataloader), over=over)
        user = {key: getattr(state, key) for key in self.state_dict_user_keys}
        stateful = {name: each.state_dict() for name, each in self.stateful.items()}
        return write(
            Saved(
                position, position == implied, state.epoch_length, max_epochs, max_iters, state.seed, user, stateful,
            )
        )  # fmt: skip

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a saved state; the next `run` continues there.

        Args:
            state_dict: what `state_dict` gave out, or a plain dict of `iteration` or `epoch` (completed
                ones, from 0), `max_epochs` or `max_iters`, `epoch_length` and the user keys. One that stands at
                an epoch's end means that EPOCH_COMPLETED was fired.

        Raises:
            ArgumentTypeError: not a mapping.
            StateDictError: an entry is missing, unknown, out of range or contradicts another; the
                engine is unchanged.
            RunningError: called inside a run.

        Examples:
            >>> engine = Engine(lambda engine, batch: print(batch))
            >>> engine.load_state_dict({"iteration": 2, "max_epochs": 1, "epoch_length": 3})
            >>> state = engine.run(["a", "b", "c"])
            c
        """
        if self._control.is_running:
            raise RunningError("load_state_dict() must not be called inside a run of the same engine")
        saved = read(state_dict, self.state_dict_user_keys, FOREIGN_KEYS, self.stateful)
        if any(key in state_dict for key in FOREIGN_KEYS):
            warnings.warn(
                f"{type(self).__name__} does not restore random states: {', '.join(FOREIGN_KEYS)} are ignored",
                EngineWarning,
                stacklevel=2,
            )
        for name, part in (saved.stateful or {}).items():
            self.stateful[name].load_state_dict(part)
        state = self.state
        state.iteration, state.epoch = saved.position.iteration, saved.position.epoch
        state.epoch_length, state.seed = saved.epoch_length, saved.seed
        state.max_epochs, state.max_iters = saved.max_epochs, saved.max_iters
        for key, value in saved.user.items():
            setattr(state, key, value)
        self._standing = Standing(saved.position, is_implied=saved.is_implied, is_loaded=True)
        self._cursor = self._suspended = None

    def __repr__(self) -> str:
        return describe(self, self._registry)


def _limit_text(plan: RunPlan) -> str:
    limit = f"{plan.max_epochs} epochs" if plan.max_iters is None else f"{plan.max_iters} iterations"
    return f"{limit}, epoch length {plan.epoch_length or 'unknown'}"
