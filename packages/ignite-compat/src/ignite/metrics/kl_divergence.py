"""The mean Kullback-Leibler divergence."""

from __future__ import annotations

import torch

from ignite.metrics._sample_mean import SampleMean, class_rows, require_classes

__all__ = ["KLDivergence"]


class KLDivergence(SampleMean):
    """Mean over samples of the Kullback-Leibler divergence of the prediction from the target.

    `update` takes `(y_pred, y)`: logits of one shape (N, C, *).

    Args:
        output_transform, device, skip_unrolling, metrics_result_mode: as :class:`Metric` takes them.

    Examples:
        >>> metric = KLDivergence()
        >>> metric.update((torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])))
        >>> round(metric.compute(), 4)
        0.1109
    """

    _state_dict_all_req_keys = ("_sum_of_kl", "_num_examples")

    def _sum_and_count(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
        if prediction.shape != target.shape:
            shapes = f"{tuple(prediction.shape)} and {tuple(target.shape)}"
            raise ValueError(f"`y_pred` and `y` must have one shape, got {shapes}")
        require_classes(prediction)
        rows, target_rows = class_rows(prediction), class_rows(target)
        return self._divergence(rows.log_softmax(dim=1), target_rows.log_softmax(dim=1)), rows.shape[0]

    def _divergence(self, log_prediction: torch.Tensor, log_target: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.kl_div(log_prediction, log_target, reduction="sum", log_target=True)
