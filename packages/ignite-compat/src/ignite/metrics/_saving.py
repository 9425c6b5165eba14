"""States of metrics: of each process its own, of metrics within metrics too."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

import ignite.distributed as idist
from ignite.metrics._sharing import gathered

if TYPE_CHECKING:
    from ignite.metrics.metric import Metric

# Ignite's name: a file that it wrote can be loaded.
RANKS = "__metric_state_per_rank"


def saved(metric: Metric) -> OrderedDict[str, Any]:
    """Return the state of a metric, of all processes.

    Args:
        metric: the metric.

    Returns:
        One entry: a list with the state of each rank.
    """
    return OrderedDict({RANKS: gathered(state_of(metric))})


def load(metric: Metric, state_dict: Mapping[str, Any]) -> None:
    """Let a metric go on from a saved state.

    Args:
        metric: the metric.
        state_dict: what :func:`saved` returned, in as many processes.

    Raises:
        TypeError: `state_dict` is not a mapping.
        ValueError: it is not the state of such a metric.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"`state_dict` must be a mapping, got {state_dict!r}")
    if set(state_dict) != {RANKS}:
        raise ValueError(f"`state_dict` must be a metric's own, with the only entry {RANKS!r}, got {list(state_dict)}")
    states = state_dict[RANKS]
    if not isinstance(states, list) or len(states) != idist.get_world_size():
        raise ValueError(
            f"`state_dict` must have a state for each of the {idist.get_world_size()} processes, got {states!r}"
        )
    check(metric, states[idist.get_rank()])
    load_state(metric, states[idist.get_rank()])


def state_of(value: Any) -> Any:
    """Return the state of a metric, or of the metrics in a collection, in this process.

    Args:
        value: a metric, a collection of metrics and other values, or any other value.

    Returns:
        The same with states in the place of metrics, and with tensors of its own.
    """
    if is_metric(value):
        return OrderedDict((key, state_of(getattr(value, key))) for key in value._state_dict_all_req_keys)  # noqa: SLF001  # Ignite's name for what people's own metrics declare
    if isinstance(value, Mapping):
        return {key: state_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [state_of(item) for item in value]
    # A copy: metrics add in place, and a state may be written later.
    return value.detach().clone() if isinstance(value, torch.Tensor) else value


def check(metric: Metric, state: Any) -> None:
    """Refuse what is not the state of a metric, before anything is changed.

    Args:
        metric: the metric.
        state: what :func:`state_of` returned.

    Raises:
        ValueError: an entry is missing.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"the state of a {type(metric).__name__} must be a mapping, got {state!r}")  # noqa: TRY004  # what Ignite's users catch
    missing = [key for key in metric._state_dict_all_req_keys if key not in state]  # noqa: SLF001  # as above
    if missing:
        raise ValueError(f"the state of a {type(metric).__name__} must have the entries {missing}, got {list(state)}")
    for key in metric._state_dict_all_req_keys:  # noqa: SLF001  # as above
        for inner, inner_state in pairs(getattr(metric, key), state[key]):
            check(inner, inner_state)


def load_state(metric: Metric, state: Mapping[str, Any]) -> None:
    """Let a metric go on from its state in this process; metrics within it stay the same objects.

    Args:
        metric: the metric.
        state: what :func:`state_of` returned.
    """
    for key in metric._state_dict_all_req_keys:  # noqa: SLF001  # as above
        inner = pairs(getattr(metric, key), state[key])
        for each, each_state in inner:
            load_state(each, each_state)
        if not inner:
            setattr(metric, key, state_of(state[key]))


def pairs(value: Any, state: Any) -> list[tuple[Metric, Any]]:
    """Return the metrics in a value, each with its own part of the state."""
    if is_metric(value):
        return [(value, state)]
    if isinstance(value, Mapping) and isinstance(state, Mapping):
        return [pair for key, item in value.items() if key in state for pair in pairs(item, state[key])]
    if isinstance(value, list | tuple) and isinstance(state, Sequence) and len(value) == len(state):
        return [pair for item, part in zip(value, state, strict=True) for pair in pairs(item, part)]
    return []


def is_metric(value: Any) -> bool:
    """Return whether a value is a metric."""
    from ignite.metrics.metric import Metric

    return isinstance(value, Metric)
