"""Leave models, optimizers and random number generators exactly as they were before a block."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from camshaft.engine import imported

PutBack = Callable[[], Any]


@contextmanager
def restored(*objects: Any) -> Iterator[None]:
    """Put objects back at the end of a `with` block, also after an error.

    The same tensors hold the same values again, bit by bit, in their own type and on their own device:

    - a module: its parameters, buffers, gradients and modes. Inside the block it has no gradients.
    - an optimizer: its state and its parameter groups.
    - anything else: what its `load_state_dict` restores of its `state_dict`.

    Args:
        *objects: modules, optimizers, and other objects with `state_dict` and `load_state_dict`.
    """
    import torch

    with ExitStack() as stack:  # every callback is called, whatever another one raises
        for each in objects:
            if isinstance(each, torch.nn.Module):
                stack.callback(_keep_module(each))
            elif isinstance(each, torch.optim.Optimizer):
                stack.callback(_keep_optimizer(each))
            else:
                stack.callback(_keep_state(each))
        yield


@contextmanager
def restored_generators(model: Any) -> Iterator[None]:
    """Put the global random number generators of Python, numpy and torch back at the end of a `with` block.

    Args:
        model: a module; the generators of the GPUs that it is on are put back too.
    """
    import torch

    gpus = {parameter.device.index for parameter in model.parameters() if parameter.device.type == "cuda"}
    numpy = imported("numpy")
    python_state, numpy_state = random.getstate(), numpy and numpy.random.get_state()
    with torch.random.fork_rng(devices=sorted(gpus)):
        try:
            yield
        finally:
            random.setstate(python_state)
            if numpy is not None:
                numpy.random.set_state(numpy_state)


def _keep_module(module: Any) -> PutBack:
    tables = [_keep(vars(each)[table]) for each in module.modules() for table in ("_parameters", "_buffers")]
    modes = [(each, each.training) for each in module.modules()]
    extras = [(each, copy.deepcopy(each.get_extra_state())) for each in module.modules() if _has_extra_state(each)]
    gradients = [(parameter, parameter.grad) for parameter in module.parameters()]
    for parameter, _ in gradients:
        parameter.grad = None

    def put_back() -> None:
        for restore in tables:
            restore()
        for each, training in modes:
            each.training = training
        for each, extra in extras:
            each.set_extra_state(extra)
        for parameter, gradient in gradients:
            parameter.grad = gradient

    return put_back


def _has_extra_state(module: Any) -> bool:
    import torch

    return type(module).get_extra_state is not torch.nn.Module.get_extra_state


def _keep_optimizer(optimizer: Any) -> PutBack:
    import torch

    # Not its `load_state_dict`: that makes the type of a floating-point state the parameter's.
    own = _keep_state(optimizer) if type(optimizer).state_dict is not torch.optim.Optimizer.state_dict else None
    state, groups = optimizer.state, optimizer.param_groups
    members = [list(group["params"]) for group in groups]
    kept_state = _keep(state)
    kept_groups = [
        (group, {name: _keep(value) for name, value in group.items() if name != "params"}) for group in groups
    ]

    def put_back() -> None:
        if own is not None:
            own()
        optimizer.state, optimizer.param_groups = kept_state(), groups
        groups[:] = [group for group, _ in kept_groups]
        for (group, options), parameters in zip(kept_groups, members, strict=True):
            group.clear()
            group.update(params=parameters, **{name: restore() for name, restore in options.items()})

    return put_back


def _keep_state(stateful: Any) -> PutBack:
    state = copy.deepcopy(stateful.state_dict())
    return lambda: stateful.load_state_dict(state)


def _keep(value: Any) -> PutBack:
    """Return a function that gives a tensor, dict or list its contents back and returns it; others are copied now."""
    import torch

    if isinstance(value, torch.Tensor):
        contents = value.detach().clone()
        return lambda: (value.detach().copy_(contents), value)[1]
    if isinstance(value, dict):
        entries = {key: _keep(entry) for key, entry in value.items()}

        def refill_dict() -> Any:
            restored_entries = {key: restore() for key, restore in entries.items()}
            value.clear()
            value.update(restored_entries)
            return value

        return refill_dict
    if isinstance(value, list):
        items = [_keep(item) for item in value]

        def refill_list() -> Any:
            value[:] = [restore() for restore in items]
            return value

        return refill_list
    contents = copy.deepcopy(value)
    return lambda: contents
