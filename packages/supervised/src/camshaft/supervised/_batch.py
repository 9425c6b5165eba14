"""Batches: split into input and target, moved to a device, counted."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import torch

from camshaft.engine import ArgumentError

Device = str | torch.device | int | None
PAIRS = (list, tuple)


def prepare_batch(batch: Any, device: Device = None, non_blocking: bool = False) -> tuple[Any, Any]:
    """Split a batch into input and target and move both to a device.

    The steps do this with each batch, unless they are given another function with these parameters.

    Args:
        batch: a list or tuple `(x, y)`; both may be nested.
        device: where to move both; None leaves them where they are.
        non_blocking: copy from pinned memory without waiting, where the device can.

    Returns:
        The input and the target.

    Raises:
        ArgumentError: the batch is not a list or tuple of two. A mapping or a tensor is refused even if it has two
            entries: unpacking it would train on nonsense.

    Examples:
        >>> prepare_batch((torch.tensor([1.0]), torch.tensor([0])))
        (tensor([1.]), tensor([0]))
    """
    x, y = require_pair(batch)
    if device is None:
        return x, y
    return move_to_device(x, device, non_blocking), move_to_device(y, device, non_blocking)


def require_pair(batch: Any) -> Any:
    """Return `batch` if it is a list or tuple of two; see `prepare_batch`."""
    if isinstance(batch, PAIRS) and len(batch) == 2:
        return batch
    raise ArgumentError(f"`batch` must be a pair (x, y), got {_describe(batch)}; pass a `prepare_batch` of your own")


def move_to_device(value: Any, device: Device, non_blocking: bool = False) -> Any:
    """Move everything in a nested value that can move to a device.

    Tensors and other objects with a `to` method move. Mappings, lists, tuples and named tuples are rebuilt around
    what moved, in their own type where that is possible. Everything else (strings, numbers, None) stays as it is.

    Args:
        value: nested to any depth; it is not changed itself.
        device: where to move it; None returns `value` as it is.
        non_blocking: copy from pinned memory without waiting, where the device can.

    Returns:
        The moved value.

    Examples:
        >>> move_to_device({"ids": [torch.tensor([1])], "name": "a"}, "cpu")
        {'ids': [tensor([1])], 'name': 'a'}
    """
    if device is None:
        return value
    return map_movable(lambda item: item.to(device, non_blocking=non_blocking), value)


def map_tensors(function: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    """Return a nested value with each tensor in it replaced; the rest as `move_to_device` does it.

    Args:
        function: makes the new tensor from the old one.
        value: nested to any depth; it is not changed itself.

    Examples:
        >>> map_tensors(torch.neg, {"ids": [torch.tensor([1])], "name": "a"})
        {'ids': [tensor([-1])], 'name': 'a'}
    """
    return _rebuild(value, _is_tensor, function)


def map_movable(function: Callable[[Any], Any], value: Any) -> Any:
    """Return a nested value with everything replaced that can move to a device; the rest as `move_to_device` does it.

    Args:
        function: makes what takes the place of a tensor, or of another object that has a `to` method.
        value: nested to any depth; it is not changed itself.
    """
    return _rebuild(value, _can_move, function)


def _can_move(value: object) -> bool:
    return isinstance(value, torch.Tensor) or callable(getattr(value, "to", None))


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def _rebuild(value: Any, is_leaf: Callable[[object], bool], function: Callable[[Any], Any]) -> Any:
    if is_leaf(value):
        return function(value)
    if isinstance(value, Mapping):
        return _as_mapping_like(value, {key: _rebuild(item, is_leaf, function) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return _as_sequence_like(value, [_rebuild(item, is_leaf, function) for item in value])
    return value


def batch_size(batch: Any) -> int:
    """Return how many samples a batch has: the first dimension of the first tensor in it.

    Args:
        batch: nested to any depth; its tensors have shape `(N, *)`.

    Raises:
        ArgumentError: there is no such tensor in it.

    Examples:
        >>> batch_size({"image": torch.zeros(32, 3, 8, 8), "label": torch.zeros(32)})
        32
    """
    size = _first_length(batch)
    if size is None:
        raise ArgumentError(
            f"`batch` must hold a tensor of shape (N, *), got {_describe(batch)}; pass a `batch_size` of your own"
        )
    return size


def _first_length(value: Any) -> int | None:
    if isinstance(value, torch.Tensor):
        return value.shape[0] if value.dim() else None
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return next((length for item in items if (length := _first_length(item)) is not None), None)


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
    # Not its contents: a batch can be huge.
    size = f" of length {len(batch)}" if isinstance(batch, list | tuple | Mapping) else ""
    return f"a {type(batch).__name__}{size}"
