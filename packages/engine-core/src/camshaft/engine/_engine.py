"""The engine: holds the step, the state and the handlers; runs."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Generic, Self

from camshaft.engine._data import DataSource, make_source, require_data
from camshaft.engine._describe import describe
from camshaft.engine._errors import ArgumentTypeError, EngineWarning, RunningError
from camshaft.engine._events import Events
from camshaft.engine._last_run import LastRun
from camshaft.engine._nesting import outermost_run
from camshaft.engine._position import Position
from camshaft.engine._rank_state import Gathered, gather
from camshaft.engine._requests import Finishing, NewData, Requests, Terminate, TerminateEpoch
from camshaft.engine._run import Run
from camshaft.engine._run_plan import RunArguments, RunPlan, make_plan
from camshaft.engine._run_status import RunStatus
from camshaft.engine._shared_requests import SharedRequests
from camshaft.engine._signature import require_step
from camshaft.engine._state import Batch, Output, State, equip
from camshaft.engine._state_dict import load_all, read, write
from camshaft.engine._stop_flags import StopFlags
from camshaft.engine._value import Stateful

if TYPE_CHECKING:
    from logging import Logger


class Engine(StopFlags, SharedRequests, Generic[Batch, Output]):
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
        self._requests = Requests()
        super().__init__(on_change=self._requests.notice)
        self.process_function = process_function
        self._logger: Logger | None = None
        self.state_dict_user_keys: list[str] = []
        self.stateful: dict[str, Stateful] = {}
        self._gathered: Gathered | None = None  # what belongs to each of several processes
        self._status = RunStatus()
        self.state = State()

    if TYPE_CHECKING:
        state: State[Batch, Output]
    else:

        def _replace_state(self, state: State[Batch, Output]) -> None:
            """Take over a new state; in a run, what the run has set on the old one goes along."""
            if not isinstance(state, State):
                raise ArgumentTypeError(f"`state` must be a State, got {state!r}")
            equip(state, self._registry.counters, self._state if self.is_running else None)
            self._state = state
            self._requests.notice()

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

        The first call, and a call on a finished run, start a new run. If the last run has work left (it was
        interrupted, terminated or failed, or its state was loaded), it is continued at exactly the event that would
        have come next. In pseudocode, where `fire` calls the handlers of an event in the order of attaching::

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
            ArgumentError: an argument is out of range or contradicts the run that goes on, or the data has no batch.
            ArgumentTypeError: `data` is not iterable.
            RunningError: called inside a run of this engine.

        Examples:
            >>> engine = Engine(lambda engine, batch: batch)
            >>> engine.run([1, 2, 3], max_epochs=2).iteration
            6
        """
        if self.is_running:
            raise RunningError("run() must not be called inside a run of the same engine; use another engine")
        last, new = self._status.last(), self._requests.new_data
        data = new.data if data is None and new is not None else data
        try:
            arguments = RunArguments.checked(data, max_epochs, epoch_length, seed, max_iters)
            plan = self.prepare(make_plan(arguments, self.state, last))
        except BaseException as error:
            self._requests.raise_explained(error)
            raise
        if plan.resumed and plan.position.over:
            warnings.warn("the run is finished, nothing is left; raise its limit to go on", EngineWarning, stacklevel=2)
            self._status.replace_last(last._replace(is_loaded=False))
            return self.state
        if (early := self._requests.terminate) is not None:
            self._requests.terminate = None  # honoured once, also where the warning is an error
            warnings.warn("terminate() was called before this run: it ends after STARTED", EngineWarning, stacklevel=2)
            self._requests.terminate = early
        self._status.carry_out(Run(self, plan, last, self._registry, self._requests))
        self.logger.info("run ends: epoch %d, iteration %d", self.state.epoch, self.state.iteration)
        return self.state

    # ------------------------------------------------------------------ hooks for derived engines

    def prepare(self, plan: RunPlan) -> RunPlan:
        """Return the plan that a run is to follow, changed or not; for derived classes.

        Args:
            plan: everything that is known about the run; nothing has been changed yet.
        """
        return plan

    def make_source(self, data: Any) -> DataSource:
        """Return what opens `data` for a run; for derived classes that know other kinds of data, or open it otherwise.

        Called when a run begins, and when a handler has put other data into its place. Sequences are opened
        by index, data with `state_dict` and `load_state_dict` through those, and an iterator goes on where it is.

        Args:
            data: what was given to `run` or `set_data`; None for runs without data.
        """
        return make_source(data)

    def resumed(self, position: Position) -> None:
        """Put back what belongs to a continued run, once its data is open again; for derived classes.

        Args:
            position: where the run goes on.
        """

    # ------------------------------------------------------------------ requests

    @property
    def is_running(self) -> bool:
        """Whether a run of this engine is going on."""
        return self._status.going() is not None

    @property
    def is_exact(self) -> bool:
        """Whether a run that is resumed from a state saved now continues exactly.

        It is False after an exception, and after a run that ended while safe points were held back.
        """
        run = self._status.going()
        if run is not None:
            return run.emitter.is_exact
        return self._status.last().is_exact and not self._requests.is_held()

    def set_data(self, data: Any) -> None:
        """Take the next batch from other data; `epoch_length` does not change.

        Called before a run, it takes effect only if `run()` is given no data.

        Args:
            data: as for `run`. A saved state holds no data: before a run that is resumed, give what was in use then.

        Raises:
            ArgumentTypeError: `data` is not iterable.
            ArgumentError: `data` has no batch.
        """
        require_data(data)
        self._status.settle()
        if self.is_running:
            self.state.dataloader = data
        self._requests.new_data = NewData(data)
        self._requests.notice()

    def terminate(self, skip_completed: bool = False) -> None:
        """End the run after the current event: TERMINATE and COMPLETED follow.

        If the step calls it, ITERATION_COMPLETED is fired first. The next `run` goes on with the iterations that
        are left of the epoch. Called before a run, it ends that run after STARTED.

        Args:
            skip_completed: leave COMPLETED out.
        """
        self._status.settle()
        self._requests.terminate = Terminate(skip_completed)
        self._requests.notice()

    def terminate_epoch(self, skip_epoch_completed: bool = False) -> None:
        """End the epoch after the current event; the next epoch begins a new pass over the data.

        TERMINATE_SINGLE_EPOCH and EPOCH_COMPLETED follow. An iteration whose ITERATION_STARTED was fired counts
        as done, though its step is left out. Called at EPOCH_COMPLETED, it has no effect.

        Args:
            skip_epoch_completed: leave EPOCH_COMPLETED out.

        Raises:
            RunningError: no run is going on, or the epoch has not begun (at STARTED, EPOCH_STARTED).
        """
        firing = self._require_run("terminate_epoch").emitter.firing
        if firing in (Events.STARTED, Events.EPOCH_STARTED):
            raise RunningError(f"terminate_epoch() must be called inside an epoch, got it at {firing}")
        self._requests.terminate_epoch = TerminateEpoch(skip_epoch_completed)
        self._requests.notice()

    def interrupt(self) -> None:
        """Suspend the run after the current event: INTERRUPT is the last one.

        `run()` returns the state, and the next `run()` goes on with the same iterator. Setting
        `state.max_epochs = None`, or loading a state, drops the suspended run.

        Raises:
            RunningError: no run is going on.
        """
        self._require_run("interrupt")
        self._requests.interrupt = True
        self._requests.notice()

    def _require_run(self, method: str) -> Run:
        run = self._status.going()
        if run is None:
            raise RunningError(f"{method}() must be called inside a run; no run is going on")
        return run

    def at_safe_point(self, callback: Callable[[], object], *, after: Finishing | None = None) -> None:
        """Call `callback` once all handlers of the current event of the outermost engine have run.

        That is before a stop takes effect and before the next batch is fetched, so what it saves does not depend on
        the order of handlers. If it is asked for between the fetch of a batch and the end of its step, it waits for
        ITERATION_COMPLETED. If no engine runs in this thread, it is called at once.

        Args:
            callback: called without arguments, once.
            after: what another thread does meanwhile, a `concurrent.futures.Future`, say. The callback is called at the
                first safe point after it is done; at the last one of the run in any case, so that it can wait.

        Examples:
            >>> engine = Engine(lambda engine, batch: engine.at_safe_point(lambda: print("saved after the step")))
            >>> state = engine.run([1])
            saved after the step
        """
        if not callable(callback):
            raise ArgumentTypeError(f"`callback` must be callable, got {callback!r}")
        outermost = outermost_run()
        if outermost is None:
            callback()
        elif after is None:
            outermost.requests.at_safe_point(callback)
        else:
            outermost.requests.at_safe_point_after(after, callback)

    def hold_safe_points(self, predicate: Callable[[], bool]) -> None:
        """Let safe points of this engine wait while `predicate()` is true.

        Args:
            predicate: returns whether they have to wait: for a window of accumulated gradients, for example.
        """
        self._requests.holds.append(predicate)

    # ------------------------------------------------------------------ where the run stands

    @property
    def position(self) -> Position:
        """Where the run stands. After a plain dict was loaded, some of that is known only once `run` has the data."""
        return self._status.position(self.state)

    # ------------------------------------------------------------------ saving

    def state_dict(self) -> OrderedDict[str, Any]:
        """Return where the run stands, as integers, strings, lists and dicts.

        Entries: epoch_length; max_epochs or max_iters; iteration, which counts those that are done; the user keys;
        if there is one, seed; position and last_values (output, metrics) if counters do not tell it; stateful; ranks.

        Examples:
            >>> engine = Engine(lambda engine, batch: batch)
            >>> state = engine.run([1, 2, 3], max_epochs=2)
            >>> dict(engine.state_dict())
            {'epoch_length': 3, 'max_epochs': 2, 'iteration': 6}
        """
        position, is_implied = self._status.saved_position(self.state), self._status.is_implied()
        parts = [] if self._gathered is None else self._gathered.at(position)
        return write(self.state, position, self.state_dict_user_keys, self.stateful, is_implied, parts)

    def consolidate_state_dict(self, to: int = 0) -> None:
        """Gather, for the next `state_dict` of rank `to`, what belongs to each process: `stateful` objects, data.

        All processes have to call this; `Checkpoint` does. What is loaded goes back to its rank, or is merged where an
        object has `merge_state_dicts(states)`.
        """
        self._gathered = gather(self._status.saved_position, self.state, self.stateful, to)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over a saved state; the next `run` continues there.

        Args:
            state_dict: what `state_dict` gave out, or a plain dict of `iteration` or `epoch` (completed
                ones, from 0), `max_epochs` or `max_iters`, `epoch_length` and the user keys. At the end of an
                epoch, a plain dict means that EPOCH_COMPLETED was fired.

        Raises:
            ArgumentTypeError: not a mapping.
            StateDictError: an entry is missing, unknown, out of range or contradicts another; nothing is changed.
            RunningError: called inside a run.

        Examples:
            >>> engine = Engine(lambda engine, batch: print(batch))
            >>> engine.load_state_dict({"iteration": 2, "max_epochs": 1, "epoch_length": 3})
            >>> state = engine.run(["a", "b", "c"])
            c
        """
        if self.is_running:
            raise RunningError("load_state_dict() must not be called inside a run of the same engine")
        saved = read(state_dict, self.state_dict_user_keys, self.stateful)
        load_all(self.stateful, saved.stateful)
        saved.put_into(self.state)
        self._status.replace_last(LastRun(saved.position, is_implied=saved.is_implied, is_loaded=True))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return a copy that stands where this engine stands, and is not running."""
        copied = memo[id(self)] = object.__new__(type(self))
        vars(copied).update({name: deepcopy(value, memo) for name, value in vars(self).items()})
        copied.state.iteration, copied.state.batch = copied.position.iteration, None
        return copied

    def __repr__(self) -> str:
        return describe(self, self._registry)
