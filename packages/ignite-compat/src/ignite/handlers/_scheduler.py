"""What all parameter schedulers share: counting events, saving, writing values into an optimizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from camshaft.engine import ArgumentError, ArgumentTypeError, Events
from ignite.handlers._annotations import AnyEngine, AnyEvent


def require_keys(state_dict: object, keys: Sequence[str]) -> Mapping[str, Any]:
    """Return a saved state if it is a mapping with all these keys.

    Raises:
        ArgumentTypeError: it is no mapping.
        ArgumentError: it lacks a key.
    """
    if not isinstance(state_dict, Mapping):
        raise ArgumentTypeError(f"`state_dict` must be a mapping, got {type(state_dict)}")
    for key in keys:
        if key not in state_dict:
            raise ArgumentError(f"`state_dict` must have the key {key!r}, got {list(state_dict)}")
    return state_dict


def require_optimizer(optimizer: Any) -> Any:
    """Return an optimizer, or what has a list of parameter groups like one.

    Raises:
        ArgumentTypeError: it has none.
    """
    if not isinstance(getattr(optimizer, "param_groups", None), list | tuple):
        raise ArgumentTypeError(
            f"`optimizer` must be an optimizer or have a list `param_groups`, got {type(optimizer)}"
        )
    return optimizer


def note_value(engine: Any, name: str, value: Any) -> None:
    """Append a value to `engine.state.param_history[name]`."""
    if getattr(engine.state, "param_history", None) is None:
        engine.state.param_history = {}
    engine.state.param_history.setdefault(name, []).append(value)


class BaseParamScheduler(ABC):
    """Base class of everything that gives a parameter a value at each event.

    Args:
        param_name: the parameter's name.
        save_history: whether values are collected in `engine.state.param_history`.
    """

    def __init__(self, param_name: str, save_history: bool = False) -> None:
        self.param_name = param_name
        self.event_index = 0
        self._save_history = save_history
        # The attributes that are saved; derived classes add their own.
        self._state_attrs = ["event_index", "param_name", "save_history"]

    @property
    def save_history(self) -> bool:
        """Whether values are collected in `engine.state.param_history`."""
        return self._save_history

    @save_history.setter
    def save_history(self, value: bool) -> None:
        self._save_history = value

    @abstractmethod
    def get_param(self) -> Any:
        """Return the value for the current event: a number, or a list of one per parameter group."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the scheduler needs to go on."""
        state: dict[str, Any] = OrderedDict()
        for name in self._state_attrs:
            value = getattr(self, name)
            state[name] = value.state_dict() if hasattr(value, "state_dict") else value
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state_dict: what `state_dict` returned, here or in pytorch-ignite.

        Raises:
            TypeError: it is no mapping.
            ValueError: it lacks an entry; nothing is changed then.
        """
        state = require_keys(state_dict, self._state_attrs)
        for name in self._state_attrs:
            value = getattr(self, name)
            if hasattr(value, "load_state_dict"):
                value.load_state_dict(state[name])
            else:
                setattr(self, name, state[name])

    @classmethod
    @abstractmethod
    def simulate_values(cls, num_events: int, **scheduler_kwargs: Any) -> list[Any]:
        """Return `[event_index, value]` for the first events.

        Args:
            num_events: how many events.
            scheduler_kwargs: arguments of the scheduler.
        """

    @classmethod
    def plot_values(cls, num_events: int, **scheduler_kwargs: Any) -> Any:
        """Draw the values of the first events with `matplotlib.pyplot`.

        Args:
            num_events: how many events.
            scheduler_kwargs: arguments of the scheduler.

        Returns:
            The lines that were drawn.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        try:
            from matplotlib import pyplot as plt
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "plot_values needs matplotlib; pip install matplotlib", name=error.name
            ) from error
        events, *values = zip(*cls.simulate_values(num_events=num_events, **scheduler_kwargs), strict=True)
        name = scheduler_kwargs.get("param_name", "learning rate")
        lines = [line for each in values for line in plt.plot(events, each, label=name)]
        plt.legend()
        plt.grid(visible=True, which="both")
        return lines


class ParamScheduler(BaseParamScheduler):
    """Base class of schedulers that set a parameter of an optimizer.

    A derived class says in `get_param` what the value at event `self.event_index` is, counted
    from 0. Attached to ITERATION_STARTED it sets the value for the iteration that begins.

    Args:
        optimizer: an optimizer, or anything with a list `param_groups`.
        param_name: key in the parameter groups: "lr", say.
        save_history: whether values are collected in `engine.state.param_history`.
        param_group_index: the only group to set; None for all.

    Raises:
        TypeError: `optimizer` has no `param_groups`.

    Examples:
        >>> class Halving(ParamScheduler):
        ...     def get_param(self):
        ...         return 0.5**self.event_index
        >>> Halving.simulate_values(3, param_name="lr")
        [[0, 1.0], [1, 0.5], [2, 0.25]]
    """

    def __init__(
        self, optimizer: Any, param_name: str, save_history: bool = False, param_group_index: int | None = None
    ) -> None:
        super().__init__(param_name, save_history)
        self.optimizer = require_optimizer(optimizer)
        self.param_group_index = param_group_index
        self._state_attrs += ["param_group_index"]

    @property
    def optimizer_param_groups(self) -> list[dict[str, Any]]:
        """The parameter groups that are set."""
        groups: list[dict[str, Any]] = self.optimizer.param_groups
        return groups if self.param_group_index is None else [groups[self.param_group_index]]

    def attach(self, engine: AnyEngine, event: AnyEvent = Events.ITERATION_STARTED) -> None:
        """Set the parameter at an event of an engine.

        Args:
            engine: the trainer.
            event: when; at ITERATION_STARTED the value is that of the iteration that begins.
        """
        engine.add_event_handler(event, self)

    def __call__(self, engine: AnyEngine | None, name: str | None = None) -> None:
        """Set the parameter for the current event, and count it.

        Args:
            engine: whose state keeps the history.
            name: key of the history; None for the parameter's name.
        """
        groups = self.optimizer_param_groups
        value = self.get_param()
        values = value if isinstance(value, list) else [value] * len(groups)
        for group, each in zip(groups, values, strict=True):
            group[self.param_name] = each
        if self.save_history and engine is not None:
            note_value(engine, name or self.param_name, [group[self.param_name] for group in groups])
        self.event_index += 1

    @classmethod
    def simulate_values(cls, num_events: int, **scheduler_kwargs: Any) -> list[Any]:
        """Return `[event_index, value]` for the first events.

        Args:
            num_events: how many events.
            scheduler_kwargs: arguments of the scheduler; `optimizer` may be left out.
        """
        options = {"save_history": False, **scheduler_kwargs}
        options.setdefault("optimizer", SimpleNamespace(param_groups=[{}]))
        options["optimizer"] = copy_of_groups(options["optimizer"])
        scheduler = cls(**options)
        return [[index, value_after_call(scheduler)] for index in range(num_events)]


def copy_of_groups(optimizer: Any) -> Any:
    """Return something that has the options of an optimizer's groups and none of its parameters."""
    groups = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    return SimpleNamespace(param_groups=groups)


def value_after_call(scheduler: Any) -> Any:
    """Return what a scheduler sets at its next event."""
    scheduler(engine=None)
    return scheduler.optimizer_param_groups[0][scheduler.param_name]
