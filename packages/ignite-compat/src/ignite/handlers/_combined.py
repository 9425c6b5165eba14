"""Schedulers made of schedulers: one after the other, or side by side."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from camshaft.engine import ArgumentError, ArgumentTypeError, Events, is_integer
from ignite.handlers._annotations import AnyEngine, AnyEvent
from ignite.handlers._scheduler import BaseParamScheduler, ParamScheduler, require_keys


@contextmanager
def put_back(schedulers: Sequence[Any]) -> Iterator[None]:
    """Leave schedulers and the options of their optimizers as they were before the block."""
    states = [copy.deepcopy(scheduler.state_dict()) for scheduler in schedulers]
    groups = [group for optimizer in optimizers_of(schedulers) for group in optimizer.param_groups]
    options = [{key: value for key, value in group.items() if key != "params"} for group in groups]
    try:
        yield
    finally:
        for scheduler, state in zip(schedulers, states, strict=True):
            scheduler.load_state_dict(state)
        for group, option in zip(groups, options, strict=True):
            for key in [key for key in group if key != "params" and key not in option]:
                del group[key]
            group.update(option)


def optimizers_of(schedulers: Sequence[Any]) -> list[Any]:
    """Return the optimizers of schedulers, each once."""
    found: list[Any] = []
    for scheduler in schedulers:
        optimizer = scheduler.optimizer
        for each in optimizer if isinstance(optimizer, list) else [optimizer]:
            if not any(each is known for known in found):
                found.append(each)
    return found


class ConcatScheduler(ParamScheduler):
    """Use one scheduler after another.

    Args:
        schedulers: two or more schedulers of one parameter of one optimizer.
        durations: the number of events of each scheduler but the last.
        save_history: whether values are collected in `engine.state.param_history`.

    Raises:
        TypeError: an argument is no sequence, or holds something that is no scheduler.
        ValueError: there are fewer than two schedulers, or the durations do not fit them.

    Examples:
        >>> from ignite.handlers import PiecewiseLinear
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        >>> rise = PiecewiseLinear(optimizer, "lr", [(0, 0.0), (2, 1.0)])
        >>> fall = PiecewiseLinear(optimizer, "lr", [(0, 1.0), (2, 0.0)])
        >>> ConcatScheduler.simulate_values(4, schedulers=[rise, fall], durations=[2])
        [[0, 0.0], [1, 0.5], [2, 1.0], [3, 0.5]]
    """

    def __init__(self, schedulers: list[Any], durations: list[int], save_history: bool = False) -> None:
        _require_schedulers(schedulers, durations)
        super().__init__(_one_optimizer(schedulers), _one_parameter(schedulers), save_history=save_history)
        self.schedulers = schedulers
        self.durations = list(durations)
        self._scheduler_index = 0
        self._current_duration = self.durations[0]
        self._state_attrs += ["_current_duration", "durations", "_scheduler_index"]
        self.save_history = save_history

    @property
    def save_history(self) -> bool:
        """Whether values are collected in `engine.state.param_history`."""
        return self._save_history

    @save_history.setter
    def save_history(self, value: bool) -> None:
        self._save_history = value
        for scheduler in getattr(self, "schedulers", ()):
            scheduler.save_history = value

    @property
    def optimizer_param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups that the current scheduler sets."""
        groups: list[dict[str, Any]] = self._current.optimizer_param_groups
        return groups

    def get_param(self) -> Any:
        """Return the value for the current event."""
        return self._current.get_param()

    def __call__(self, engine: AnyEngine | None, name: str | None = None) -> None:
        """Let the current scheduler set the parameter.

        Args:
            engine: whose state keeps the history.
            name: key of the history; None for the parameter's name.
        """
        if self._current_duration == 0:
            self._scheduler_index += 1
            is_last = self._scheduler_index >= len(self.durations)
            self._current_duration = -1 if is_last else self.durations[self._scheduler_index]
        self._current(engine, name)
        self._current_duration -= 1

    @property
    def _current(self) -> Any:
        return self.schedulers[self._scheduler_index]

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the schedulers need to go on."""
        state = super().state_dict()
        state["schedulers"] = [scheduler.state_dict() for scheduler in self.schedulers]
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state_dict: what `state_dict` returned, here or in pytorch-ignite.

        Raises:
            TypeError: it is no mapping.
            ValueError: it lacks an entry, or is of another number of schedulers.
        """
        states = require_keys(state_dict, ["schedulers", *self._state_attrs])["schedulers"]
        if not isinstance(states, Sequence):
            raise ArgumentTypeError(f"`state_dict` must have a list of states for 'schedulers', got {type(states)}")
        if len(states) != len(self.schedulers):
            raise ArgumentError(
                f"`state_dict` must have the states of {len(self.schedulers)} schedulers, got {len(states)}"
            )
        for scheduler, state in zip(self.schedulers, states, strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict(state_dict)

    @classmethod
    def simulate_values(  # type: ignore[override]  # the documented arguments
        cls,
        num_events: int,
        schedulers: list[Any],
        durations: list[int],
        param_names: list[str] | tuple[str, ...] | None = None,
    ) -> list[Any]:
        """Return `[event_index, value, ...]` for the first events; the schedulers stay as they are.

        Args:
            num_events: how many events.
            schedulers: the schedulers.
            durations: the number of events of each but the last.
            param_names: whose values are returned; None for the first scheduler's parameter.

        Raises:
            TypeError: `param_names` is no list or tuple.
        """
        if param_names is not None and not isinstance(param_names, list | tuple):
            raise ArgumentTypeError(f"`param_names` must be a list or tuple, got {type(param_names)}")
        with put_back(schedulers):
            scheduler = cls(schedulers=schedulers, durations=durations, save_history=False)
            names = param_names or [scheduler.param_name]
            rows = []
            for index in range(num_events):
                scheduler(engine=None)
                groups = scheduler.optimizer_param_groups
                rows.append([index, *(groups[0][name] for name in names)])
        return rows


class ParamGroupScheduler:
    """Call several schedulers at once: one for each group of an optimizer, say.

    Args:
        schedulers: the schedulers.
        names: keys of the history, one for each; None for the names of their parameters.
        save_history: whether values are collected in `engine.state.param_history`.

    Raises:
        TypeError: an argument is no list or tuple.
        ValueError: it holds something else than schedulers or names, or their numbers differ.
    """

    def __init__(
        self, schedulers: list[ParamScheduler], names: list[str] | None = None, save_history: bool = False
    ) -> None:
        if not isinstance(schedulers, Sequence):
            raise ArgumentTypeError(f"`schedulers` must be a list or tuple, got {schedulers!r}")
        if not all(isinstance(scheduler, ParamScheduler) for scheduler in schedulers):
            raise ArgumentError(f"`schedulers` must hold parameter schedulers only, got {schedulers!r}")
        if names is None:
            names = [scheduler.param_name for scheduler in schedulers]
        if not isinstance(names, list | tuple):
            raise ArgumentTypeError(f"`names` must be a list or tuple, got {names!r}")
        if not all(isinstance(name, str) for name in names):
            raise ArgumentError(f"`names` must hold strings only, got {names!r}")
        if len(names) != len(schedulers):
            raise ArgumentError(f"`names` must have one for each of {len(schedulers)} schedulers, got {len(names)}")
        self.schedulers = schedulers
        self.names = names
        self.optimizer = [scheduler.optimizer for scheduler in schedulers]
        self.param_name = [scheduler.param_name for scheduler in schedulers]
        if save_history:
            self.save_history = True

    @property
    def save_history(self) -> bool:
        """Whether values are collected in `engine.state.param_history`."""
        return bool(self.schedulers) and self.schedulers[0].save_history

    @save_history.setter
    def save_history(self, value: bool) -> None:
        for scheduler in self.schedulers:
            scheduler.save_history = value

    @property
    def optimizer_param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups that are set."""
        return [group for scheduler in self.schedulers for group in scheduler.optimizer_param_groups]

    def get_param(self) -> list[Any]:
        """Return the value of each scheduler for the current event."""
        return [scheduler.get_param() for scheduler in self.schedulers]

    def attach(self, engine: AnyEngine, event: AnyEvent = Events.ITERATION_STARTED) -> None:
        """Set the parameters at an event of an engine.

        Args:
            engine: the trainer.
            event: when.
        """
        engine.add_event_handler(event, self)

    def __call__(self, engine: AnyEngine | None, name: str | None = None) -> None:
        """Let each scheduler set its parameter; `name` is not used."""
        for scheduler, each in zip(self.schedulers, self.names, strict=True):
            scheduler(engine, each)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the schedulers need to go on."""
        pairs = zip(self.names, self.schedulers, strict=True)
        return OrderedDict(schedulers=[(name, scheduler.state_dict()) for name, scheduler in pairs])

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state_dict: what `state_dict` returned, here or in pytorch-ignite.

        Raises:
            TypeError: it is no mapping.
            ValueError: it is of other schedulers.
        """
        pairs = require_keys(state_dict, ["schedulers"])["schedulers"]
        if len(pairs) != len(self.schedulers):
            raise ArgumentError(
                f"`state_dict` must have the states of {len(self.schedulers)} schedulers, got {len(pairs)}"
            )
        if [name for name, _ in pairs] != list(self.names):
            raise ArgumentError(f"`state_dict` must be of schedulers named {self.names}, got {[n for n, _ in pairs]}")
        for scheduler, (_, state) in zip(self.schedulers, pairs, strict=True):
            scheduler.load_state_dict(state)

    @classmethod
    def simulate_values(cls, num_events: int, schedulers: list[ParamScheduler], **kwargs: Any) -> list[Any]:
        """Return `[event_index, value of each scheduler ...]` for the first events; the schedulers stay as they are.

        Args:
            num_events: how many events.
            schedulers: the schedulers.
            kwargs: arguments of this class.
        """
        with put_back(schedulers):
            group = cls(schedulers=schedulers, save_history=False, **kwargs)
            rows = []
            for index in range(num_events):
                values = group.get_param()
                group(engine=None)
                rows.append([index, *values])
        return rows


def _require_schedulers(schedulers: Any, durations: Any) -> None:
    if not isinstance(schedulers, Sequence):
        raise ArgumentTypeError(f"`schedulers` must be a list or tuple, got {schedulers!r}")
    if len(schedulers) < 2:
        raise ArgumentError(f"`schedulers` must be two at least, got {len(schedulers)}")
    for scheduler in schedulers:
        if not isinstance(scheduler, BaseParamScheduler | ParamGroupScheduler):
            raise ArgumentTypeError(f"`schedulers` must hold parameter schedulers only, got {scheduler!r}")
    if not isinstance(durations, list | tuple):
        raise ArgumentTypeError(f"`durations` must be a list or tuple, got {durations!r}")
    if not all(is_integer(duration) for duration in durations):
        raise ArgumentError(f"`durations` must hold integers only, got {durations!r}")
    if len(durations) != len(schedulers) - 1:
        raise ArgumentError(
            f"`durations` must have one for each scheduler but the last, {len(schedulers) - 1}, got {len(durations)}"
        )


def _one_optimizer(schedulers: Sequence[Any]) -> Any:
    found = optimizers_of(schedulers)
    if len(found) > 1:
        raise ArgumentError("`schedulers` must be of one optimizer, got several; use a scheduler for each of them")
    return found[0]


def _one_parameter(schedulers: Sequence[Any]) -> str:
    found: set[str] = set()
    for scheduler in schedulers:
        names = scheduler.param_name
        found.update(names if isinstance(names, list) else [names])
    if len(found) > 1:
        raise ArgumentError(
            f"`schedulers` must be of one parameter, got {sorted(found)}; use a scheduler for each of them"
        )
    return found.pop()
