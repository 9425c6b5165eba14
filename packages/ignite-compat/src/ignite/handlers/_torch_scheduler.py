"""The schedulers of `torch.optim.lr_scheduler` as handlers, and a warm-up in front of any scheduler."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, ReduceLROnPlateau
from torch.optim.lr_scheduler import LRScheduler as TorchScheduler

from camshaft.engine import ArgumentError, ArgumentTypeError, is_integer
from ignite.handlers._annotations import AnyEngine
from ignite.handlers._combined import ConcatScheduler, ParamGroupScheduler, put_back
from ignite.handlers._piecewise import PiecewiseLinear
from ignite.handlers._scheduler import ParamScheduler


class LRScheduler(ParamScheduler):
    """Call a scheduler of `torch.optim.lr_scheduler`.

    Attach it to ITERATION_STARTED: the first iteration has the optimizer's own learning rate, and
    each later one that of one step more. The wrapped scheduler then is always one step ahead, as it
    is in pytorch-ignite, so both states go over either way.

    Args:
        lr_scheduler: the scheduler.
        save_history: whether values are collected in `engine.state.param_history`.
        use_legacy: attach it to ITERATION_COMPLETED instead.

    Raises:
        TypeError: `lr_scheduler` is none of torch's, or is a `ReduceLROnPlateau`, which needs a metric.

    Examples:
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
        >>> halving = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        >>> LRScheduler.simulate_values(3, lr_scheduler=halving)
        [[0, 0.5], [1, 0.25], [2, 0.125]]
    """

    def __init__(self, lr_scheduler: TorchScheduler, save_history: bool = False, use_legacy: bool = False) -> None:
        if not isinstance(lr_scheduler, TorchScheduler):
            raise ArgumentTypeError(
                f"`lr_scheduler` must be a scheduler of torch.optim.lr_scheduler, got {type(lr_scheduler)}"
            )
        if isinstance(lr_scheduler, ReduceLROnPlateau):
            raise ArgumentTypeError(
                "`lr_scheduler` must not be a ReduceLROnPlateau, got one; use ReduceLROnPlateauScheduler"
            )
        super().__init__(lr_scheduler.optimizer, "lr", save_history)
        self.lr_scheduler = lr_scheduler
        if use_legacy:
            self.lr_scheduler.last_epoch += 1
            warnings.warn(
                "with use_legacy=True a scheduler must be attached to Events.ITERATION_COMPLETED; at ITERATION_STARTED "
                "the optimizer's first learning rate would be skipped",
                UserWarning,
                stacklevel=2,
            )
        self._state_attrs += ["lr_scheduler"]

    def __call__(self, engine: AnyEngine | None, name: str | None = None) -> None:
        """Set the learning rate for the current event, and go one step ahead.

        Args:
            engine: whose state keeps the history.
            name: key of the history; None for "lr".
        """
        if _computes_itself(self.lr_scheduler):
            super().__call__(engine, name)
            self.lr_scheduler.last_epoch += 1
            return
        # A chain of schedulers does not say how often it was stepped.
        if self.event_index > 0 or getattr(self.lr_scheduler, "last_epoch", 0) > 0:
            self.lr_scheduler.step()
        super().__call__(engine, name)

    def get_param(self) -> Any:
        """Return the learning rate for the current event, or a list of one per group."""
        values = [_as_number(value) for value in self._values()]
        return values if len(values) > 1 else values[0]

    def _values(self) -> list[Any]:
        scheduler = self.lr_scheduler
        current = [group["lr"] for group in self.optimizer_param_groups]
        if not _computes_itself(scheduler) or scheduler.last_epoch == 0:
            return current
        if isinstance(scheduler, CosineAnnealingWarmRestarts):
            # Its place in the cycle is only known to a step to a given epoch, which sets the values.
            scheduler.step(scheduler.last_epoch)
            values = [group["lr"] for group in self.optimizer_param_groups]
            for group, value in zip(self.optimizer_param_groups, current, strict=True):
                group["lr"] = value
            return values
        scheduler._get_lr_called_within_step = True  # noqa: SLF001  # or torch warns
        try:
            return list(scheduler.get_lr())
        finally:
            scheduler._get_lr_called_within_step = False  # noqa: SLF001  # as above

    @classmethod
    def simulate_values(  # type: ignore[override]  # the documented arguments
        cls, num_events: int, lr_scheduler: TorchScheduler, **kwargs: Any
    ) -> list[Any]:
        """Return `[event_index, value of each group ...]` for the first events; the scheduler stays as it is.

        Args:
            num_events: how many events.
            lr_scheduler: the scheduler.
            kwargs: arguments of this class.

        Raises:
            TypeError: `lr_scheduler` is none of torch's.
        """
        wrapped = cls(save_history=False, lr_scheduler=lr_scheduler, **kwargs)
        rows = []
        with put_back([wrapped]):
            for index in range(num_events):
                wrapped(engine=None)
                rows.append([index, *(group["lr"] for group in wrapped.optimizer_param_groups)])
        return rows


class ReduceLROnPlateauScheduler(ParamScheduler):
    """Lower the learning rate when a metric no longer improves, with torch's `ReduceLROnPlateau`.

    Attach it to the engine that computes the metric, at COMPLETED.

    Args:
        optimizer: the optimizer.
        metric_name: key in `engine.state.metrics`.
        trainer: the engine whose state keeps the history.
        save_history: whether values are collected in `trainer.state.param_history`.
        param_group_index: the only group to set; None for all.
        scheduler_kwargs: arguments of torch's scheduler.

    Raises:
        TypeError: `min_lr` is a list although one group is chosen.

    Examples:
        >>> ReduceLROnPlateauScheduler.simulate_values(
        ...     4, metric_values=[5, 4, 4, 4], init_lr=0.5, factor=0.5, patience=1
        ... )
        [[0, 0.5], [1, 0.5], [2, 0.5], [3, 0.25]]
    """

    def __init__(
        self,
        optimizer: Any,
        metric_name: str,
        trainer: AnyEngine | None = None,
        save_history: bool = False,
        param_group_index: int | None = None,
        **scheduler_kwargs: Any,
    ) -> None:
        super().__init__(optimizer, "lr", save_history=save_history, param_group_index=param_group_index)
        self.metric_name = metric_name
        self.trainer = trainer
        if param_group_index is not None and "min_lr" in scheduler_kwargs:
            min_lr = scheduler_kwargs["min_lr"]
            if not isinstance(min_lr, int | float):
                raise ArgumentTypeError(f"`min_lr` must be a number with `param_group_index`, got {min_lr!r}")
            scheduler_kwargs["min_lr"] = [0.0] * len(optimizer.param_groups)
            scheduler_kwargs["min_lr"][param_group_index] = min_lr
        self.scheduler = ReduceLROnPlateau(optimizer, **scheduler_kwargs)
        self._state_attrs += ["metric_name", "scheduler"]

    def __call__(self, engine: AnyEngine | None, name: str | None = None) -> None:
        """Show torch's scheduler the metric of an engine.

        Args:
            engine: the engine that computes the metric.
            name: key of the history; None for "lr".

        Raises:
            ValueError: the engine has no such metric.
        """
        metrics = {} if engine is None else engine.state.metrics
        if self.metric_name not in metrics:
            raise ArgumentError(
                f"`metric_name` must be a metric of the engine, got {self.metric_name!r}; it has {sorted(metrics)}"
            )
        chosen = self.optimizer_param_groups
        others = [(group, group["lr"]) for group in self.optimizer.param_groups if all(group is not c for c in chosen)]
        self.scheduler.step(metrics[self.metric_name])
        for group, value in others:
            group["lr"] = value
        super().__call__(self.trainer, name)

    def get_param(self) -> Any:
        """Return the learning rate as it is now, or a list of one per group."""
        values = [group["lr"] for group in self.optimizer_param_groups]
        return values if len(values) > 1 else values[0]

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the scheduler needs to go on."""
        state = super().state_dict()
        # The scheduler of pytorch-ignite has a method of its own in there, which a file should not hold.
        state["scheduler"] = {key: value for key, value in state["scheduler"].items() if not callable(value)}
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a saved state.

        Args:
            state_dict: what `state_dict` returned, here or in pytorch-ignite.

        Raises:
            TypeError: it is no mapping.
            ValueError: it lacks an entry.
        """
        if isinstance(state_dict, Mapping) and isinstance(state_dict.get("scheduler"), Mapping):
            inner = {key: value for key, value in state_dict["scheduler"].items() if not callable(value)}
            state_dict = {**state_dict, "scheduler": inner}
        super().load_state_dict(state_dict)

    @classmethod
    def simulate_values(  # type: ignore[override]  # the documented arguments
        cls, num_events: int, metric_values: list[float], init_lr: float, **scheduler_kwargs: Any
    ) -> list[Any]:
        """Return `[event_index, learning rate]` for a sequence of metric values.

        Args:
            num_events: how many events.
            metric_values: the metric at each of them.
            init_lr: the learning rate before the first.
            scheduler_kwargs: arguments of this class.

        Raises:
            ValueError: there are not as many values as events.
        """
        if len(metric_values) != num_events:
            raise ArgumentError(f"`metric_values` must be {num_events} numbers, got {len(metric_values)}")
        options = {"metric_name": "metric", **scheduler_kwargs, "save_history": False}
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=init_lr)
        scheduler = cls(optimizer=optimizer, **options)
        rows = []
        for index, value in enumerate(metric_values):
            engine: Any = SimpleNamespace(state=SimpleNamespace(metrics={options["metric_name"]: value}))
            scheduler(engine)
            rows.append([index, optimizer.param_groups[0]["lr"]])
        return rows


def create_lr_scheduler_with_warmup(
    lr_scheduler: ParamScheduler | TorchScheduler,
    warmup_start_value: float,
    warmup_duration: int,
    warmup_end_value: float | None = None,
    save_history: bool = False,
    output_simulated_values: list[Any] | None = None,
) -> ConcatScheduler:
    """Put a linear warm-up in front of a scheduler.

    Args:
        lr_scheduler: takes over after the warm-up. If its first value is the warm-up's last, that
            value comes once.
        warmup_start_value: the learning rate at the first event.
        warmup_duration: events of the warm-up, at least 2.
        warmup_end_value: the learning rate at the warm-up's last event; None for each group's own.
        save_history: whether values are collected in `engine.state.param_history`.
        output_simulated_values: a list that is filled with the first values, `[None] * 100`, say.

    Returns:
        A scheduler to attach to ITERATION_STARTED.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: `warmup_duration` is below 2.

    Examples:
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.5)
        >>> halving = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        >>> values = [None] * 5
        >>> scheduler = create_lr_scheduler_with_warmup(halving, 0.0, 3, output_simulated_values=values)
        >>> values
        [[0, 0.0], [1, 0.25], [2, 0.5], [3, 0.25], [4, 0.125]]
    """
    if not isinstance(lr_scheduler, TorchScheduler | ParamScheduler):
        raise ArgumentTypeError(
            f"`lr_scheduler` must be a parameter scheduler or one of torch, got {type(lr_scheduler)}"
        )
    if not is_integer(warmup_duration):
        raise ArgumentTypeError(f"`warmup_duration` must be an integer, got {warmup_duration!r}")
    if warmup_duration < 2:
        raise ArgumentError(f"`warmup_duration` must be at least 2, got {warmup_duration!r}")
    if output_simulated_values is not None and not isinstance(output_simulated_values, list):
        raise ArgumentTypeError(
            f"`output_simulated_values` must be a list of None, got {type(output_simulated_values)}"
        )
    follower: ParamScheduler
    if isinstance(lr_scheduler, TorchScheduler):
        warmups, follower, duration = _before_torch(lr_scheduler, warmup_start_value, warmup_duration, warmup_end_value)
    else:
        follower = lr_scheduler
        warmups, duration = _before_own(lr_scheduler, warmup_start_value, warmup_duration, warmup_end_value)
    groups: list[ParamScheduler] = [
        PiecewiseLinear(lr_scheduler.optimizer, follower.param_name, milestones_values=line, param_group_index=index)
        for index, line in enumerate(warmups)
    ]
    schedulers = [ParamGroupScheduler(groups, save_history=save_history), follower]
    combined = ConcatScheduler(schedulers, durations=[duration], save_history=save_history)
    if output_simulated_values is not None:
        count = len(output_simulated_values)
        output_simulated_values[:] = ConcatScheduler.simulate_values(count, schedulers, [duration])
        combined.save_history = save_history
    return combined


def _before_torch(
    torch_scheduler: TorchScheduler, start: float, duration: int, end: float | None
) -> tuple[list[list[tuple[int, float]]], LRScheduler, int]:
    """Return the warm-up of each group, what follows, and how many events the warm-up has.

    The scheduler's first value is the optimizer's own, which the warm-up leads to: that one is
    skipped. Where the warm-up of an only group ends elsewhere, it gets one more event with it.
    """
    groups = torch_scheduler.optimizer.param_groups
    lines = [[(0, start), (duration - 1, _as_number(group["lr"]) if end is None else end)] for group in groups]
    if len(groups) == 1 and lines[0][-1][1] != groups[0]["lr"]:
        lines[0].append((duration, _as_number(groups[0]["lr"])))
        duration += 1
    follower = LRScheduler(torch_scheduler)
    torch_scheduler.last_epoch += 1
    return lines, follower, duration


def _before_own(
    scheduler: ParamScheduler, start: float, duration: int, end: float | None
) -> tuple[list[list[tuple[int, float]]], int]:
    """Return the warm-up of each group, and how many events it has: one less if the last one comes again."""
    groups = scheduler.optimizer.param_groups
    ends = [group[scheduler.param_name] if end is None else end for group in groups]
    with put_back([scheduler]):
        first = scheduler.get_param()
    last = duration - 1
    if all(first == each for each in ends):
        lines = [[(0, start), (last - 1, start + (each - start) * (last - 1) / last)] for each in ends]
        return ([line[:1] for line in lines] if last == 1 else lines), duration - 1
    return [[(0, start), (last, each)] for each in ends], duration


def _computes_itself(scheduler: TorchScheduler) -> bool:
    """Return whether a scheduler has a formula: those that call others have none."""
    return type(scheduler).get_lr is not TorchScheduler.get_lr


def _as_number(value: Any) -> Any:
    """Return a learning rate as it is set: a copy of a tensor, which schedulers change in place."""
    return copy.copy(value) if isinstance(value, torch.Tensor) else value
