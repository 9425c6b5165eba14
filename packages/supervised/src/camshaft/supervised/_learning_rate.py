"""Learning rates as tensors: a captured step reads them from the GPU, so that schedulers still change them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from camshaft.supervised._backends import Backend
    from camshaft.supervised._cuda_graph import Recorder


class LearningRates:
    """The learning rates of an optimizer in tensors of fixed addresses.

    Users, schedulers and checkpoints see the numbers that they put into `optimizer.param_groups`. The tensors take
    their place only while the optimizer steps. It does so in each iteration, captured or not: an optimizer may round
    differently with a number than with a tensor.

    Args:
        optimizer: has the parameter groups.
        device: where its parameters are.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self._optimizer = optimizer
        self._device = device
        self._tensors: list[torch.Tensor] = []
        self._filled: list[float | None] = []  # what was filled in last

    def fill(self) -> None:
        """Bring the tensors up to date, without waiting for the device."""
        groups = self._optimizer.param_groups
        while len(self._tensors) < len(groups):
            self._tensors.append(torch.zeros((), device=self._device))
            self._filled.append(None)
        for place, (tensor, group) in enumerate(zip(self._tensors, groups, strict=False)):
            rate = group["lr"]
            if isinstance(rate, torch.Tensor):  # what it holds is not known here, so it is copied each time
                tensor.copy_(rate.reshape(()), non_blocking=True)
                self._filled[place] = None
            elif rate != self._filled[place]:
                tensor.fill_(rate)
                self._filled[place] = rate

    @contextmanager
    def in_groups(self) -> Iterator[None]:
        """Put the tensors in the place of the numbers for the length of a step."""
        groups = self._optimizer.param_groups
        numbers = [group["lr"] for group in groups]
        for group, tensor in zip(groups, self._tensors, strict=False):
            group["lr"] = tensor
        try:
            yield
        finally:
            for group, number in zip(groups, numbers, strict=True):
                group["lr"] = number


def with_tensor_rates(backend: Backend, rates: LearningRates, recorder: Recorder) -> Backend:
    """Return a backend whose optimizer reads its learning rates from tensors.

    Args:
        backend: steps the optimizer.
        rates: the learning rates of that optimizer.
        recorder: knows whether the step is being recorded. What would be filled in then, each replay would fill in.
    """

    def step() -> None:
        if not recorder.is_recording:
            rates.fill()
        with rates.in_groups():
            backend.step()

    return replace(backend, step=step)
