"""What handlers may still read after a run was resumed: the last output, and the results by name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from camshaft.engine._errors import EngineWarning, StateDictError
from camshaft.engine._state import State
from camshaft.engine._value import imported

# Of values of all kinds together. A loss is a few bytes; predictions for a whole batch are not worth a checkpoint.
MOST_BYTES = 2**20
MOST_NESTED = 10
KEYS = ("output", "metrics", "lost")
# Here handlers of a finished iteration or epoch are still to be called.
AT_AN_END = ("TERMINATE_SINGLE_EPOCH", "EPOCH_COMPLETED", "COMPLETED")


class _NotSavedError(Exception):
    """The value is of a kind, or a size, that a state does not hold."""


def last_values(state: State[Any, Any]) -> dict[str, Any]:
    """Return copies of what a resumed run's handlers may read: `state.output` and `state.metrics`.

    Numbers, strings, None, tensors, and lists, tuples and dicts of them are saved, up to 1 MiB in all.

    Args:
        state: of the engine.

    Returns:
        `output` and `metrics`, and under `lost` the names of what is of another kind or too large; empty where there
        is nothing.

    Examples:
        >>> last_values(State(output=0.25, metrics={"accuracy": 0.5, "curve": object()}))
        {'output': 0.25, 'metrics': {'accuracy': 0.5}, 'lost': ["metrics['curve']"]}
    """
    room, lost = [MOST_BYTES], []
    values: dict[str, Any] = {}
    if state.output is not None:
        try:
            values["output"] = _copy(state.output, room)
        except _NotSavedError:
            lost.append("output")
    metrics = {}
    for name, value in state.metrics.items() if isinstance(state.metrics, Mapping) else ():
        try:
            metrics[_copy(name, room)] = _copy(value, room)
        except _NotSavedError:
            lost.append(f"metrics[{name!r}]")
    if metrics:
        values["metrics"] = metrics
    if lost:
        values["lost"] = lost
    return values


def check(values: object) -> Mapping[str, Any]:
    """Return what `last_values` has saved.

    Raises:
        StateDictError: it is malformed.
    """
    if not isinstance(values, Mapping) or not set(values) <= set(KEYS):
        raise StateDictError(
            f"`last_values` must be a mapping with keys of {KEYS}, got {values!r}; the engine is unchanged"
        )
    if not isinstance(values.get("metrics", {}), Mapping) or not isinstance(values.get("lost", []), list):
        raise StateDictError(f"`last_values` must hold metrics as a mapping, lost as a list, got {values!r}")
    return values


def put_back(values: Mapping[str, Any], state: State[Any, Any], stage: str) -> None:
    """Give a state what was saved.

    Args:
        values: as `check` returned them.
        state: of the engine that goes on.
        stage: the event that comes next.

    Warns:
        EngineWarning: handlers that come next would miss something that was too large to be saved.
    """
    state.output = values.get("output")
    state.metrics.update(values.get("metrics", {}))
    if values.get("lost") and stage in AT_AN_END:
        names = ", ".join(f"`state.{name}`" for name in values["lost"])
        warnings.warn(
            f"{names} of the last iteration was not saved: it is no number or tensor, or too large. Handlers of "
            f"{stage} will not find it; keep what they need in an attribute named in `state_dict_user_keys`",
            EngineWarning,
            stacklevel=4,
        )


def _copy(value: Any, room: list[int], nested: int = 0) -> Any:
    if value is None or type(value) in (bool, int, float):
        return value
    if type(value) in (str, bytes):
        return _fitting(value, len(value), room)
    if nested < MOST_NESTED and type(value) is dict:
        return {_copy(key, room, nested + 1): _copy(item, room, nested + 1) for key, item in value.items()}
    if nested < MOST_NESTED and type(value) in (list, tuple):
        return type(value)(_copy(item, room, nested + 1) for item in value)
    return _copy_number(value, room)


def _copy_number(value: Any, room: list[int]) -> Any:
    # Neither is imported here: where a value is of theirs, they have been.
    torch, numpy = imported("torch"), imported("numpy")
    if torch is not None and type(value) in (torch.Tensor, torch.nn.Parameter):
        if value.layout == torch.strided and not (value.is_meta or value.is_quantized or value.is_nested):
            return _fitting(value, value.numel() * value.element_size(), room).detach().clone()
    elif numpy is not None and isinstance(value, numpy.bool | numpy.number):
        return value.item()
    raise _NotSavedError


def _fitting(value: Any, size: int, room: list[int]) -> Any:
    room[0] -= size
    if room[0] < 0:
        room[0] += size
        raise _NotSavedError
    return value
