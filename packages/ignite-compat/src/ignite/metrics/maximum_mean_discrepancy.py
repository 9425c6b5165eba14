"""The maximum mean discrepancy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._sample_mean import at_least_single
from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric, reinit__is_reduced, sync_all_reduce

__all__ = ["MaximumMeanDiscrepancy"]


class MaximumMeanDiscrepancy(Metric):
    """Discrepancy of two distributions with a Gaussian kernel, from the means over batches.

    `update` takes `(x, y)` of one shape (N, F, *).

    Args:
        var: bandwidth of the kernel, squared.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> metric = MaximumMeanDiscrepancy()
        >>> metric.update((torch.zeros(3, 2), torch.ones(3, 2)))
        >>> round(metric.compute(), 4)
        1.1244
    """

    _state_dict_all_req_keys = ("_xx_sum", "_yy_sum", "_xy_sum", "_num_batches")

    def __init__(
        self,
        var: float = 1.0,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        self.var = var
        super().__init__(output_transform, device=device, skip_unrolling=skip_unrolling)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self._xx_sum, self._yy_sum, self._xy_sum = (torch.tensor(0.0, device=self._device) for _ in range(3))
        self._num_batches = 0

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add the kernel's means over a batch.

        Args:
            output: samples of the two distributions.

        Raises:
            ValueError: the shapes differ or have no dimension of features.
        """
        x, y = output[0].detach(), output[1].detach()
        if x.shape != y.shape or x.dim() < 2:
            raise ValueError(f"`x` and `y` must have one shape (N, F, *), got {tuple(x.shape)} and {tuple(y.shape)}")
        x, y = (at_least_single(each).flatten(start_dim=1) for each in (x, y))
        count = x.shape[0]
        for name, rows, columns in (("_xx_sum", x, x), ("_yy_sum", y, y)):
            kernel = self._kernel(rows, columns)
            mean = (kernel.sum() - kernel.trace()) / count / (count - 1)
            setattr(self, name, getattr(self, name) + mean.to(self._device))
        self._xy_sum += self._kernel(x, y).mean().to(self._device)
        self._num_batches += 1

    def _kernel(self, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
        return torch.exp(-(torch.cdist(rows, columns) ** 2) / (2 * self.var))

    @sync_all_reduce("_xx_sum", "_yy_sum", "_xy_sum", "_num_batches")
    def compute(self) -> float:
        """Return the discrepancy.

        Returns:
            A number, 0 for equal distributions.

        Raises:
            NotComputableError: there is no batch yet.
        """
        if self._num_batches == 0:
            raise NotComputableError("MaximumMeanDiscrepancy needs at least one batch before it is computed")
        squared = (self._xx_sum + self._yy_sum - 2 * self._xy_sum) / self._num_batches
        return float(squared.clamp(min=0.0).sqrt().item())
