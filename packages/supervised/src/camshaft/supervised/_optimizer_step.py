"""The optimizer step: from gradients to new parameters, with clipping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import torch

from camshaft.engine import ArgumentError, ArgumentTypeError

if TYPE_CHECKING:
    from camshaft.supervised._backends import Backend


@dataclass(frozen=True, slots=True)
class OptimizerStep:
    """Unscales, weights and clips the gradients, then lets the optimizer step.

    Args:
        optimizer: has the parameters.
        backend: how the gradients are unscaled and used.
        clip_norm: largest norm of all gradients together; above 0. None clips nothing.
        clip_value: largest absolute value of any gradient element; above 0. None clips nothing.

    Raises:
        ArgumentTypeError: a limit is not a number.
        ArgumentError: a limit is not above 0.
    """

    optimizer: torch.optim.Optimizer
    backend: Backend
    clip_norm: float | None = None
    clip_value: float | None = None

    def __post_init__(self) -> None:
        for name, limit in (("clip_grad_norm", self.clip_norm), ("clip_grad_value", self.clip_value)):
            if limit is None:
                continue
            if isinstance(limit, bool) or not isinstance(limit, Real):
                raise ArgumentTypeError(f"`{name}` must be a number, got {limit!r}; None clips nothing")
            if not limit > 0:
                raise ArgumentError(f"`{name}` must be above 0, got {limit!r}; None clips nothing")

    @property
    def clips(self) -> bool:
        """Whether gradients are clipped."""
        return self.clip_norm is not None or self.clip_value is not None

    def __call__(self, factor: float = 1.0) -> None:
        """Step, with the gradients multiplied by `factor` and clipped.

        Args:
            factor: weight of the gradients.
        """
        if factor != 1.0 or self.clips:
            self.backend.unscale()
            self._weight_and_clip(factor)
        self.backend.step()

    def _weight_and_clip(self, factor: float) -> None:
        parameters = list(self.parameters())
        if factor != 1.0:
            for parameter in parameters:
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)
        if self.clip_norm is not None:
            clip_norm(parameters, self.clip_norm)
        if self.clip_value is not None:
            torch.nn.utils.clip_grad_value_(parameters, self.clip_value)

    def parameters(self) -> Iterator[torch.Tensor]:
        """Yield the parameters that the optimizer updates."""
        return parameters_of(self.optimizer)


def parameters_of(optimizer: torch.optim.Optimizer) -> Iterator[torch.Tensor]:
    """Yield the parameters that an optimizer updates.

    Args:
        optimizer: any.
    """
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def clip_norm(parameters: Iterable[torch.Tensor], limit: float) -> None:
    """Scale all gradients down together until their norm is at most `limit`.

    The norm is that of the whole gradients where processes have shards of them. Torch computes it for shards over one
    mesh of devices; here some may be whole and others spread over different meshes, as under tensor parallelism.

    Args:
        parameters: those without a gradient are left out.
        limit: the largest norm; above 0.
    """
    groups: dict[object, list[torch.Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            groups.setdefault(getattr(parameter.grad, "device_mesh", None), []).append(parameter)
    if groups:
        total = _total([_norm(group) for group in groups.values()])
        for group in groups.values():
            torch.nn.utils.clip_grads_with_norm_(group, limit, total)


def _norm(parameters: list[torch.Tensor]) -> torch.Tensor:
    norm = torch.nn.utils.get_total_norm([each.grad for each in parameters if each.grad is not None])
    full_tensor = getattr(norm, "full_tensor", None)
    return norm if full_tensor is None else full_tensor()


def _total(norms: list[torch.Tensor]) -> torch.Tensor:
    if len(norms) == 1:
        return norms[0]
    whole: torch.Tensor = torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))
    return whole
