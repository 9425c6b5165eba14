"""Batches: split into input and target, moved to a device."""

from __future__ import annotations

import copy
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import torch

from camshaft.engine import ArgumentError

Device = str | torch.device | int | None
PAIRS = (list, tuple)


def prepare_batch(batch: Any, device: Device = None, non_blocking: bool = False) -> tuple[Any, Any]:
    """Split a batch into input and target and move both to a device.

    This is what the steps do with a batch unless they are given another function of this signature.

    Args:
        batch: a sequence of two, `(x, y)`; either may be nested.
        device: where to move both; None leaves them where they are.
        non_blocking: copy from pinned memory without waiting, where the device can.

    Raises:
        ArgumentError: the batch is anything but a sequence of two. A mapping or a tensor is
            refused also when it has two entries: unpacking it would train on nonsense.

    Examples:
        >>> prepare_batch((torch.tensor([1.0]), torch.tensor([0])))
        (tensor([1.]), tensor([0]))
    """
    x, y = require_pair(batch)
    if device is None:
        return x, y
    return move_to_device(x, device, non_blocking), move_to_device(y, device, non_blocking)


def require_pair(batch: Any) -> Any:
    """Return `batch` if it is a sequence of two; see :func:`prepare_batch`."""
    if isinstance(batch, PAIRS) and len(batch) == 2:
        return batch
    raise ArgumentError(
        f"`batch` must be a pair (x, y), got {_describe(batch)}; give the step a `prepare_batch` of your own"
    )


def move_to_device(value: Any, device: Device, non_blocking: bool = False) -> Any:
    """Return `value` with everything in it that can move on `device`.

    Tensors and other objects with a `to` method move. Mappings, lists, tuples and named tuples
    are rebuilt around what moved, in their own type where that can be made. Everything else
    (strings, numbers, None) stays the object it is.

    Args:
        value: nested to any depth; it is not changed itself.
        device: None returns `value` as it is.
        non_blocking: copy from pinned memory without waiting, where the device can.

    Examples:
        >>> move_to_device({"ids": [torch.tensor([1])], "name": "a"}, "cpu")
        {'ids': [tensor([1])], 'name': 'a'}
    """
    if device is None:
        return value
    if isinstance(value, torch.Tensor) or callable(getattr(value, "to", None)):
        return value.to(device, non_blocking=non_blocking)
    if isinstance(value, Mapping):
        moved = {key: move_to_device(item, device, non_blocking) for key, item in value.items()}
        return _as_mapping_like(value, moved)
    if isinstance(value, list | tuple):
        return _as_sequence_like(value, [move_to_device(item, device, non_blocking) for item in value])
    return value


def _as_mapping_like(original: Mapping[Any, Any], moved: dict[Any, Any]) -> Mapping[Any, Any]:
    if type(original) is dict:
        return moved
    if isinstance(original, MutableMapping):
        # A copy keeps what a subclass carries besides its items: a default factory, say.
        clone = copy.copy(original)
        clone.update(moved)
        return clone
    try:
        return type(original)(moved)  # type: ignore[call-arg]  # most mappings can be made from a dict
    except TypeError:
        return moved


def _as_sequence_like(original: Sequence[Any], moved: list[Any]) -> Sequence[Any]:
    if type(original) is list:
        return moved
    if hasattr(original, "_fields"):
        return type(original)(*moved)
    try:
        return type(original)(moved)  # type: ignore[call-arg]  # list and tuple subclasses mostly take an iterable
    except TypeError:
        return moved if isinstance(original, list) else tuple(moved)


def _describe(batch: object) -> str:
    # A batch can be huge: its kind and size say what is wrong, its contents do not.
    size = f" of length {len(batch)}" if isinstance(batch, list | tuple | Mapping) else ""
    return f"a {type(batch).__name__}{size}"
