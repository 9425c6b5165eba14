"""The root of the mean squared error."""

from __future__ import annotations

import math

from ignite.metrics.mean_squared_error import MeanSquaredError

__all__ = ["RootMeanSquaredError"]


class RootMeanSquaredError(MeanSquaredError):
    """Root of the mean over samples of the squared error, summed over what is not the batch dimension.

    `update` takes `(y_pred, y)` of one shape (N, *).

    Args:
        output_transform, device, skip_unrolling, metrics_result_mode: as :class:`Metric` takes them.

    Examples:
        >>> import torch
        >>> metric = RootMeanSquaredError()
        >>> metric.update((torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])))
        >>> round(metric.compute(), 4)
        1.4142
    """

    def compute(self) -> float:
        """Return the root of the mean.

        Returns:
            The root of the mean over all samples.

        Raises:
            NotComputableError: there is no sample yet.
        """
        return math.sqrt(super().compute())
