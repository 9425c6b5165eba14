"""Schedulers of attributes of an engine's state.

They count an event before they set its value: attached to ITERATION_STARTED, the first iteration
has the value of index 1.
"""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from camshaft.engine import ArgumentError, EngineWarning, Events
from ignite.handlers._annotations import AnyEngine, AnyEvent
from ignite.handlers._piecewise import interpolate, place_of, split_milestones
from ignite.handlers._scheduler import BaseParamScheduler, note_value

__all__ = [
    "ExpStateScheduler",
    "LambdaStateScheduler",
    "MultiStepStateScheduler",
    "PiecewiseLinearStateScheduler",
    "StateParamScheduler",
    "StepStateScheduler",
]


class StateParamScheduler(BaseParamScheduler):
    """Base class of schedulers that set an attribute of `engine.state`.

    A derived class says in `get_param` what the value at `self.event_index` is, 1 at the first event.

    Args:
        param_name: name of the attribute.
        save_history: whether values are collected in `engine.state.param_history`.
        create_new: the attribute must not exist yet; False warns where it does not.
    """

    def __init__(self, param_name: str, save_history: bool = False, create_new: bool = False) -> None:
        super().__init__(param_name, save_history)
        self.create_new = create_new

    def attach(self, engine: AnyEngine, event: AnyEvent = Events.ITERATION_COMPLETED) -> None:
        """Set the attribute at an event of an engine.

        Args:
            engine: whose state.
            event: when.

        Raises:
            ValueError: the attribute exists, and `create_new` is True.
        """
        if hasattr(engine.state, self.param_name):
            if self.create_new:
                raise ArgumentError(
                    f"`param_name` must be new with create_new=True, got {self.param_name!r}, which the state has; "
                    "choose another name"
                )
        else:
            if not self.create_new:
                warnings.warn(
                    f"the state has no attribute {self.param_name!r}: {type(self).__name__} makes it; create_new=True "
                    "says that this is meant",
                    EngineWarning,
                    stacklevel=2,
                )
            setattr(engine.state, self.param_name, None)
        engine.add_event_handler(event, self)

    def __call__(self, engine: AnyEngine) -> None:
        """Count an event, and set the attribute for it."""
        self.event_index += 1
        value = self.get_param()
        setattr(engine.state, self.param_name, value)
        if self.save_history:
            note_value(engine, self.param_name, value)

    @classmethod
    def simulate_values(cls, num_events: int, **scheduler_kwargs: Any) -> list[Any]:
        """Return `[event_index, value]` for the first events.

        Args:
            num_events: how many events.
            scheduler_kwargs: arguments of the scheduler.
        """
        scheduler = cls(**{**scheduler_kwargs, "save_history": False})
        engine: Any = SimpleNamespace(state=SimpleNamespace())
        rows = []
        for index in range(num_events):
            scheduler(engine)
            rows.append([index, getattr(engine.state, scheduler.param_name)])
        return rows


class LambdaStateScheduler(StateParamScheduler):
    """Set what a function of the event's index returns.

    Args:
        lambda_obj: ``f(event_index)``; saved too if it has a `state_dict`.
        param_name: name of the attribute.
        save_history: whether values are collected in `engine.state.param_history`.
        create_new: the attribute must not exist yet.

    Raises:
        ValueError: `lambda_obj` cannot be called.

    Examples:
        >>> LambdaStateScheduler.simulate_values(3, param_name="alpha", lambda_obj=lambda event: 10 * event)
        [[0, 10], [1, 20], [2, 30]]
    """

    def __init__(
        self, lambda_obj: Callable[[int], Any], param_name: str, save_history: bool = False, create_new: bool = False
    ) -> None:
        super().__init__(param_name, save_history, create_new)
        if not callable(lambda_obj):
            raise ArgumentError(f"`lambda_obj` must be a function, got {lambda_obj!r}")
        self.lambda_obj = lambda_obj
        # A function without a state does not belong into a file.
        if hasattr(lambda_obj, "state_dict"):
            self._state_attrs += ["lambda_obj"]

    def get_param(self) -> Any:
        """Return the value for the current event."""
        return self.lambda_obj(self.event_index)


class PiecewiseLinearStateScheduler(StateParamScheduler):
    """Go linearly from milestone to milestone.

    Args:
        milestones_values: pairs (event index, value), the indices growing.
        param_name: name of the attribute.
        save_history: whether values are collected in `engine.state.param_history`.
        create_new: the attribute must not exist yet.

    Raises:
        TypeError: a milestone is no integer.
        ValueError: there are no pairs, or milestones go back.
    """

    def __init__(
        self,
        milestones_values: list[tuple[int, float]],
        param_name: str,
        save_history: bool = False,
        create_new: bool = False,
    ) -> None:
        super().__init__(param_name, save_history, create_new)
        self.milestones, self.values = split_milestones(milestones_values)
        self._index = 0  # saved because pytorch-ignite looks for it
        self._state_attrs += ["values", "milestones", "_index"]

    def get_param(self) -> float:
        """Return the value for the current event."""
        self._index = place_of(self.milestones, self.event_index)
        return interpolate(self.milestones, self.values, self.event_index)


class ExpStateScheduler(StateParamScheduler):
    """Multiply an initial value with a factor at each event.

    Args:
        initial_value: the value before the first event.
        gamma: the factor.
        param_name: name of the attribute.
        save_history: whether values are collected in `engine.state.param_history`.
        create_new: the attribute must not exist yet.
    """

    def __init__(
        self, initial_value: float, gamma: float, param_name: str, save_history: bool = False, create_new: bool = False
    ) -> None:
        super().__init__(param_name, save_history, create_new)
        self.initial_value = initial_value
        self.gamma = gamma
        self._state_attrs += ["initial_value", "gamma"]

    def get_param(self) -> float:
        """Return the value for the current event."""
        return self.initial_value * self.gamma**self.event_index


class StepStateScheduler(StateParamScheduler):
    """Multiply an initial value with a factor after every so many events.

    Args:
        initial_value: the value before the first step.
        gamma: the factor.
        step_size: events from step to step.
        param_name: name of the attribute.
        save_history: whether values are collected in `engine.state.param_history`.
        create_new: the attribute must not exist yet.
    """

    def __init__(
        self,
        initial_value: float,
        gamma: float,
        step_size: int,
        param_name: str,
        save_history: bool = False,
        create_new: bool = False,
    ) -> None:
        super().__init__(param_name, save_history, create_new)
        self.initial_value = initial_value
        self.gamma = gamma
        self.step_size = step_size
        self._state_attrs += ["initial_value", "gamma", "step_size"]

    def get_param(self) -> float:
        """Return the value for the current event."""
        return self.initial_value * self.gamma ** (self.event_index // self.step_size)


class MultiStepStateScheduler(StateParamScheduler):
    """Multiply an initial value with a factor at each milestone.

    Args:
        initial_value: the value before the first milestone.
        gamma: the factor.
        milestones: event indices, growing.
        param_name: name of the attribute.
        save_history: whether values are collected in `engine.state.param_history`.
        create_new: the attribute must not exist yet.
    """

    def __init__(
        self,
        initial_value: float,
        gamma: float,
        milestones: list[int],
        param_name: str,
        save_history: bool = False,
        create_new: bool = False,
    ) -> None:
        super().__init__(param_name, save_history, create_new)
        self.initial_value = initial_value
        self.gamma = gamma
        self.milestones = milestones
        self._state_attrs += ["initial_value", "gamma", "milestones"]

    def get_param(self) -> float:
        """Return the value for the current event."""
        return self.initial_value * self.gamma ** bisect_right(self.milestones, self.event_index)
