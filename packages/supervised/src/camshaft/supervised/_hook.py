"""The hooks of torch: Python functions that are called in the middle of a step, or after it.

A graph calls no Python. So a step with hooks in its middle cannot be one, and what is to be called after a step is
called here. torch has functions to add hooks and none to look at them, hence its private names.
"""

# ruff: noqa: SLF001

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks


def has_hooks(module: torch.nn.Module) -> bool:
    """Return whether the passes through a module call hooks; those of its submodules and parameters do not count.

    Args:
        module: any.
    """
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def has_gradient_hooks(parameter: torch.Tensor) -> bool:
    """Return whether hooks are called with the gradient of a parameter.

    Args:
        parameter: a leaf.
    """
    return bool(parameter._backward_hooks or parameter._post_accumulate_grad_hooks)


def has_pre_step_hooks(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether hooks are called between the backward pass and the optimizer step.

    Args:
        optimizer: any.
    """
    return bool(optimizer._optimizer_step_pre_hooks or _global_optimizer_pre_hooks)


def call_post_step_hooks(optimizer: torch.optim.Optimizer) -> None:
    """Call what is to be called after each step of an optimizer.

    Args:
        optimizer: has stepped.
    """
    for hook in chain(optimizer._optimizer_step_post_hooks.values(), _global_optimizer_post_hooks.values()):
        hook(optimizer, (optimizer,), {})


@contextmanager
def without_post_step_hooks(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Let an optimizer step without calling hooks afterwards.

    Args:
        optimizer: its hooks, and those of all optimizers, are put aside for the length of the block.
    """
    own, everywhere = optimizer._optimizer_step_post_hooks, dict(_global_optimizer_post_hooks)
    optimizer._optimizer_step_post_hooks = OrderedDict()
    _global_optimizer_post_hooks.clear()
    try:
        yield
    finally:
        optimizer._optimizer_step_post_hooks = own
        _global_optimizer_post_hooks.update(everywhere)
