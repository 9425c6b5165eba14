"""Gradient exchange: when the processes that train one model together add up their gradients.

Torch does it in the backward pass. Inside an accumulation window that is needless: only the last iteration has to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed
from torch.nn.parallel import DistributedDataParallel

from camshaft.engine import ArgumentError

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule


class GradientExchange:
    """Lets processes exchange gradients once per window, whichever way they share the model.

    `DistributedDataParallel` and `fully_shard` (FSDP2) are known. Any other model exchanges its gradients in the
    backward pass of each iteration, if it has to.

    Args:
        model: the model; what it has inside counts too.
        parameters: returns the parameters whose gradients are used.
        every_iteration: exchange in each iteration all the same. That takes less memory: a process of a sharded
            model has whole gradients of its own otherwise, until they are exchanged.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        parameters: Callable[[], Iterator[torch.Tensor]],
        *,
        every_iteration: bool = False,
    ) -> None:
        self._parameters = parameters
        self._replicas: list[DistributedDataParallel] = []
        self._shards: list[FSDPModule] = []
        if not every_iteration:
            self._replicas = [module for module in model.modules() if isinstance(module, DistributedDataParallel)]
            self._shards = _outermost_shards(model)
        self._is_owed = False  # some gradients have not been exchanged

    def postponed(self) -> AbstractContextManager[None]:
        """Exchange no gradients in the backward passes of this block."""
        return self._postponed() if self._replicas or self._shards else nullcontext()

    @contextmanager
    def _postponed(self) -> Iterator[None]:
        self._is_owed = True
        with ExitStack() as stack:
            for replica in self._replicas:
                stack.enter_context(replica.no_sync())
            for module in self._shards:
                stack.callback(module.set_requires_gradient_sync, True)
                module.set_requires_gradient_sync(False)
            yield

    def settled(self) -> None:
        """Note that a backward pass has exchanged all gradients."""
        self._is_owed = False

    def catch_up(self) -> None:
        """Exchange the gradients of a window whose last iteration never came."""
        if self._is_owed:
            self._is_owed = False
            for replica in self._replicas:
                self._average(replica)
            for module in self._shards:
                _exchange_held(module)

    def forget(self) -> None:
        """Get rid of gradients that are not to be used, where zeroing those of the parameters does not do it."""
        if self._is_owed:
            self._is_owed = False
            for module in self._shards:
                _exchange_held(module)  # brings them to the parameters, whose gradients are zeroed next

    def _average(self, replica: DistributedDataParallel) -> None:
        own = {id(parameter) for parameter in replica.parameters()}
        for parameter in self._parameters():
            if parameter.grad is not None and id(parameter) in own:
                torch.distributed.all_reduce(parameter.grad, group=replica.process_group)
                parameter.grad.div_(torch.distributed.get_world_size(replica.process_group))


def _exchange_held(module: FSDPModule) -> None:
    """Let a module of FSDP, and those in it, exchange what they hold.

    Only a backward pass does that; this one adds nothing to any gradient.
    """
    from torch.distributed.fsdp import register_fsdp_forward_method

    name = "_pass_through"
    sharded: Any = module
    setattr(sharded, name, lambda value: value + 0)
    register_fsdp_forward_method(sharded, name)
    try:
        getattr(sharded, name)(torch.zeros((), requires_grad=True)).backward()
    finally:
        delattr(sharded, name)


def _outermost_shards(model: torch.nn.Module) -> list[FSDPModule]:
    if not _is_distributed():
        return []
    from torch.distributed.fsdp import FSDPModule

    found: list[FSDPModule] = []
    inside: set[torch.nn.Module] = set()
    for module in model.modules():  # from the outside in
        if isinstance(module, FSDPModule) and module not in inside:
            found.append(module)
            inside.update(module.modules())
    return found


def require_known_norm(model: torch.nn.Module, clip_norm: float | None) -> None:
    """Refuse to clip a model of which one process does not know the norm of all gradients.

    Args:
        model: the model.
        clip_norm: as given for `clip_grad_norm`; None clips nothing.

    Raises:
        ArgumentError: the model is sharded by `FullyShardedDataParallel`.
    """
    if clip_norm is None or not _is_distributed():
        return
    from torch.distributed.fsdp import FullyShardedDataParallel

    if any(isinstance(module, FullyShardedDataParallel) for module in model.modules()):
        raise ArgumentError(
            f"`clip_grad_norm` must be None for a model of FullyShardedDataParallel, got {clip_norm!r}; "
            "shard the model with fully_shard"
        )


def _is_distributed() -> bool:
    # Without a process group no model is sharded, and torch's modules for it need not be imported.
    return torch.distributed.is_available() and torch.distributed.is_initialized()
