"""One state of a metric from those of several processes, for another number of processes to go on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from camshaft.engine import StateDictError


def merge_states(name: str, metric: torch.nn.Module, states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all processes have accumulated, as one state.

    Each entry is merged as torchmetrics itself would over processes: sums are added, extremes compared, lists joined.
    Rank 0 goes on with it, the others with nothing.

    Args:
        name: what the metric is called.
        metric: a metric of torchmetrics, or a module that holds some.
        states: the states of all processes.

    Raises:
        StateDictError: an entry has no reduction that says how to merge it.
    """
    reductions = dict(_reductions(metric))
    merged = {}
    for key, first in states[0].items():
        values = [state[key] for state in states]
        merge = _MERGES.get(getattr(reductions.get(key), "__name__", ""))
        if merge is not None:
            merged[key] = merge(values)
        elif all(torch.equal(torch.as_tensor(first), torch.as_tensor(value)) for value in values):
            merged[key] = first
        else:
            raise StateDictError(
                f"the state of {name!r} was saved by {len(states)} processes, and its entry {key!r} cannot be merged, "
                f"got the reduction {reductions.get(key)!r}; go on with {len(states)} processes, or from a checkpoint "
                "at the end of an epoch"
            )
    return merged


def _reductions(metric: torch.nn.Module) -> dict[str, Any]:
    """Return how each entry of the state of a module is reduced over processes, as torchmetrics notes it."""
    found = {}
    for path, module in metric.named_modules():
        noted = getattr(module, "_reductions", None)  # there is no public way to it
        if isinstance(noted, Mapping):
            found.update({f"{path}.{key}" if path else key: value for key, value in noted.items()})
    return found


def _join(values: list[Any]) -> Any:
    if isinstance(values[0], torch.Tensor):
        return torch.cat([value.reshape(-1) if value.dim() == 0 else value for value in values])
    return [item for value in values for item in value]


# By the names of torchmetrics' own functions, which a metric is given as "sum", "max", "min" and "cat".
_MERGES = {
    "dim_zero_sum": lambda values: torch.stack(values).sum(0),
    "dim_zero_max": lambda values: torch.stack(values).amax(0),
    "dim_zero_min": lambda values: torch.stack(values).amin(0),
    "dim_zero_cat": _join,
}
