"""What a captured step depends on, read anew before each iteration.

A graph repeats the kernels that were launched when it was captured: on the same memory, for the same shapes, with the
same numbers. `describe_*` returns what of that can change, as values that can be compared. Two kinds are kept apart:
*places*, the addresses of memory that outlives an iteration, and *settings*, everything else.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from camshaft.engine import ArgumentError
from camshaft.supervised._hook import has_gradient_hooks, has_hooks, has_pre_step_hooks
from camshaft.supervised._optimizer_step import parameters_of

if TYPE_CHECKING:
    from torch.amp.grad_scaler import GradScaler

NOT_OPTIONS = frozenset({"params", "lr"})
PLAIN = (bool, str, bytes, int, float, complex, type(None), torch.dtype, torch.device)


class Described(NamedTuple):
    """What can change of something that a captured step uses.

    Attributes:
        places: the addresses of its memory.
        settings: what decides which kernels are launched, with which numbers.
        has_hooks: whether Python functions have to be called on the way, which a graph cannot do.
    """

    places: tuple[object, ...]
    settings: tuple[object, ...]
    has_hooks: bool


def describe_batch(value: Any, device: torch.device, tensors: list[torch.Tensor]) -> Hashable:
    """Return the shape of a nested batch, and add its tensors to `tensors`.

    Args:
        value: input and target, nested in mappings, lists and tuples.
        device: where its tensors have to be.
        tensors: takes the tensors, in the order in which they come.

    Raises:
        ArgumentError: a tensor lies elsewhere or wants a gradient, or something is neither a tensor nor a plain value.
    """
    if isinstance(value, torch.Tensor):
        if value.device != device or value.layout is not torch.strided or value.requires_grad:
            raise ArgumentError(
                f"`cuda_graph` needs batches of dense tensors on {device} that want no gradient, got one of layout "
                f"{value.layout} on {value.device} with requires_grad={value.requires_grad}; give `device`, "
                "or a `prepare_batch` that makes them so, or leave `cuda_graph` out"
            )
        tensors.append(value)
        return type(value), value.shape, value.dtype, value.stride()
    if isinstance(value, list | tuple):
        return type(value), tuple([describe_batch(item, device, tensors) for item in value])
    if isinstance(value, Mapping):
        items = [(key, describe_batch(item, device, tensors)) for key, item in value.items()]
        return type(value), tuple(items)
    if isinstance(value, PLAIN):
        return type(value), value
    raise ArgumentError(
        f"`cuda_graph` needs batches of tensors and plain values in mappings, lists and tuples, got {type(value)}; "
        "take it apart in `prepare_batch`, or leave `cuda_graph` out"
    )


def describe_modules(modules: Iterable[torch.nn.Module]) -> Described:
    """Return where the parameters and buffers are, and which modules train and which parameters want gradients.

    Args:
        modules: each with all its submodules.
    """
    places: list[object] = []
    settings: list[object] = []
    hooked = False
    left: list[torch.nn.Module | None] = list(modules)
    while left:  # through the dictionaries: the iterators of a module take ten times as long
        module = left.pop()
        if module is None:
            continue
        settings.append(module.training)
        hooked = hooked or has_hooks(module)
        left.extend(module._modules.values())  # noqa: SLF001
        for parameter in module._parameters.values():  # noqa: SLF001
            if parameter is not None:
                places.append(parameter.data_ptr())
                settings.append(parameter.requires_grad)
                hooked = hooked or has_gradient_hooks(parameter)
        for buffer in module._buffers.values():  # noqa: SLF001
            if buffer is not None:
                places.append(buffer.data_ptr())  # noqa: PERF401  # most modules have none: a list costs more
    return Described(tuple(places), tuple(settings), hooked)


def describe_optimizer(optimizer: torch.optim.Optimizer) -> Described:
    """Return where the parameters and their states are, and all options but the learning rate.

    Args:
        optimizer: of `torch.optim`, or one like it.
    """
    places: list[object] = []
    settings: list[object] = []
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            places.append(parameter.data_ptr())
            settings.append(parameter.requires_grad)
        options = [value for key, value in group.items() if key not in NOT_OPTIONS]
        settings.extend([value if type(value) in PLAIN else _setting(value) for value in options])
    for state in optimizer.state.values():  # not looked up by parameter: to hash a tensor takes longer than all this
        places.extend([_place(value) for value in state.values()])
    return Described(tuple(places), tuple(settings), has_pre_step_hooks(optimizer))


def describe_scaler(scaler: GradScaler | None) -> Hashable:
    """Return the options of a gradient scaler, which a graph has in it; its scale is on the GPU and may change.

    Args:
        scaler: None scales nothing.
    """
    if scaler is None:
        return None
    return scaler.get_growth_factor(), scaler.get_backoff_factor(), scaler.get_growth_interval()


def describe_gradients(optimizer: torch.optim.Optimizer) -> Hashable:
    """Return where the gradients are that an iteration adds to.

    Args:
        optimizer: has the parameters.
    """
    return tuple([_place(parameter.grad) for parameter in parameters_of(optimizer)])


def _place(value: object) -> object:
    if not isinstance(value, torch.Tensor):
        return value
    return value.data_ptr() if value.layout is torch.strided else id(value)


def _setting(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple([_setting(item) for item in value])
    return _place(value) if isinstance(value, torch.Tensor | Hashable) else repr(value)
