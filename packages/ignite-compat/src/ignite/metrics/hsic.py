"""The Hilbert-Schmidt independence criterion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._sample_mean import at_least_single, median
from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric, reinit__is_reduced, sync_all_reduce

__all__ = ["HSIC"]


class HSIC(Metric):
    """Mean over batches of the unbiased Hilbert-Schmidt independence criterion with Gaussian kernels.

    `update` takes `(y_pred, y)`, both of shape (N, *), with N at least 4.

    Args:
        sigma_x: bandwidth of the predictions' kernel; negative: the root of the median of the squared distances.
        sigma_y: bandwidth of the targets' kernel; negative: the root of the median of the squared distances.
        ignore_invalid_batch: whether a batch with less than four samples is left out, or an error.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Sources:
        Song et al., Feature Selection via Dependence Maximization, JMLR 13, 2012, equation 5.

    Examples:
        >>> metric = HSIC()
        >>> x = torch.arange(8.0).reshape(4, 2)
        >>> metric.update((x, x))
        >>> metric.compute() > 0
        True
    """

    _state_dict_all_req_keys = ("_sum_of_hsic", "_num_batches")

    def __init__(
        self,
        sigma_x: float = -1,
        sigma_y: float = -1,
        ignore_invalid_batch: bool = True,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(output_transform, device=device, skip_unrolling=skip_unrolling)
        self.sigma_x = sigma_x
        self.sigma_y = sigma_y
        self.ignore_invalid_batch = ignore_invalid_batch

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self._sum_of_hsic = torch.tensor(0.0, device=self._device)
        self._num_batches = 0

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add the criterion of a batch.

        Args:
            output: predictions and targets.

        Raises:
            ValueError: the batch has less than four samples, and such are not left out.
        """
        x, y = (at_least_single(each.detach()).flatten(start_dim=1) for each in output)
        count = x.shape[0]
        if count < 4:
            if self.ignore_invalid_batch:
                return
            raise ValueError(f"a batch must have at least four samples, got {count}")
        k, l = _kernel(x, self.sigma_x), _kernel(y, self.sigma_y)  # noqa: E741  # the paper's names
        product = k @ l
        hsic = product.trace() + k.sum() * l.sum() / (count - 1) / (count - 2) - 2 * product.sum() / (count - 2)
        # The estimate may be below 0, where the criterion is not.
        self._sum_of_hsic += (hsic / count / (count - 3)).clamp(min=0.0).to(self._device)
        self._num_batches += 1

    @sync_all_reduce("_sum_of_hsic", "_num_batches")
    def compute(self) -> float:
        """Return the mean.

        Returns:
            The mean over the batches.

        Raises:
            NotComputableError: there is no batch yet.
        """
        if self._num_batches == 0:
            raise NotComputableError("HSIC needs at least one batch before it is computed")
        return float(self._sum_of_hsic.item() / self._num_batches)


def _kernel(rows: torch.Tensor, sigma: float) -> torch.Tensor:
    squared_distances = torch.cdist(rows, rows) ** 2
    squared_sigma = median(squared_distances) if sigma < 0 else sigma**2
    kernel = torch.exp(-squared_distances / (2 * squared_sigma))
    return kernel.fill_diagonal_(0)
