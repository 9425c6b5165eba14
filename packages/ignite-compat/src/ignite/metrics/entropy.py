"""The mean entropy of predictions."""

from __future__ import annotations

import torch

from ignite.metrics._sample_mean import SampleMean, class_rows, require_classes

__all__ = ["Entropy"]


class Entropy(SampleMean):
    """Mean over samples of the entropy of the predicted distribution.

    `update` takes `(y_pred, y)`: logits of shape (N, C, *); `y` is of no meaning.

    Args:
        output_transform, device, skip_unrolling, metrics_result_mode: as :class:`Metric` takes them.

    Examples:
        >>> metric = Entropy()
        >>> metric.update((torch.zeros(1, 2), torch.zeros(1)))
        >>> round(metric.compute(), 4)
        0.6931
    """

    _state_dict_all_req_keys = ("_sum_of_entropies", "_num_examples")

    def _sum_and_count(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
        require_classes(prediction)
        rows = class_rows(prediction)
        return entropy_of(rows).sum(), rows.shape[0]


def entropy_of(logits: torch.Tensor) -> torch.Tensor:
    """Return the entropies of distributions.

    Args:
        logits: of shape (N, C).

    Returns:
        A tensor of shape (N,).
    """
    return -(logits.softmax(dim=1) * logits.log_softmax(dim=1)).sum(dim=1)
