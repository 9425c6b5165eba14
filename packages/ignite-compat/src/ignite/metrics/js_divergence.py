"""The mean Jensen-Shannon divergence."""

from __future__ import annotations

import torch

from ignite.metrics.kl_divergence import KLDivergence

__all__ = ["JSDivergence"]


class JSDivergence(KLDivergence):
    """Mean over samples of the Jensen-Shannon divergence between prediction and target.

    `update` takes `(y_pred, y)`: logits of one shape (N, C, *).

    Args:
        output_transform, device, skip_unrolling, metrics_result_mode: as :class:`Metric` takes them.

    Examples:
        >>> metric = JSDivergence()
        >>> metric.update((torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])))
        >>> round(metric.compute(), 4)
        0.0285
    """

    def _divergence(self, log_prediction: torch.Tensor, log_target: torch.Tensor) -> torch.Tensor:
        middle = torch.log((log_prediction.exp() + log_target.exp()) / 2)
        kl_div = torch.nn.functional.kl_div
        sums = [kl_div(middle, each, reduction="sum", log_target=True) for each in (log_prediction, log_target)]
        return 0.5 * (sums[0] + sums[1])
