"""The mutual information of inputs and predictions."""

from __future__ import annotations

from typing import Any

import torch

from ignite.metrics._sample_mean import class_rows
from ignite.metrics._sharing import reduced
from ignite.metrics.entropy import Entropy
from ignite.metrics.metric import reinit__is_reduced

__all__ = ["MutualInformation"]


class MutualInformation(Entropy):
    """Mutual information: entropy of the mean prediction, less the mean entropy of the predictions.

    `update` takes `(y_pred, y)`: logits of shape (N, C, *); `y` is of no meaning.

    Args:
        output_transform, device, skip_unrolling, metrics_result_mode: as :class:`Metric` takes them.

    Examples:
        >>> metric = MutualInformation()
        >>> metric.update((torch.tensor([[9.0, -9.0], [-9.0, 9.0]]), torch.zeros(2)))
        >>> round(metric.compute(), 4)
        0.6931
    """

    _state_dict_all_req_keys = ("_sum_of_entropies", "_num_examples")
    _sum_of_probabilities: torch.Tensor | float

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._sum_of_probabilities = 0.0

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add the samples of a batch.

        Args:
            output: logits, and anything else.

        Raises:
            ValueError: the logits have no dimension of classes.
        """
        super().update(output)
        total = class_rows(output[0].detach()).softmax(dim=1).sum(dim=0)
        self._sum_of_probabilities = self._sum_of_probabilities + total.to(self._device)

    def compute(self) -> float:
        """Return the mutual information.

        Returns:
            The difference of the two entropies.

        Raises:
            NotComputableError: there is no sample yet.
        """
        mean_entropy = super().compute()
        total = reduced(self._sum_of_probabilities, "_sum_of_probabilities")
        mean = total / reduced(self._num_examples, "_num_examples")
        return float(-torch.special.xlogy(mean, mean).sum().item() - mean_entropy)
