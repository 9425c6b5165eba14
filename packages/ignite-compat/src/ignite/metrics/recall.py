"""Recall of classes."""

from __future__ import annotations

import torch

from ignite.metrics._precision_recall import PrecisionRecall

__all__ = ["Recall"]


class Recall(PrecisionRecall):
    """Recall: true positives divided by all positive targets.

    `update` takes `(y_pred, y)`: scores of shape (N, C, *) with classes of shape (N, *); zeros and
    ones of one shape (N, *); or, multilabel, zeros and ones of one shape (N, C, *).

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        average: what becomes of the results of the classes or labels. False: one result for each,
            for binary samples that of the class 1. None: one for each, for binary samples too.
            "macro" or True: their mean. "weighted": their mean weighted by the number of samples
            of each. "micro": one result over all. "samples", multilabel only: the mean over the samples
            of each sample's own result.
        is_multilabel: whether each sample may have several labels.

    Raises:
        ValueError: `average` is none of these.

    Examples:
        >>> import torch
        >>> metric = Recall()
        >>> metric.update((torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 1, 0])))
        >>> metric.compute()
        tensor(1., dtype=torch.float64)
    """

    def _positives(self, predicted: torch.Tensor, actual: torch.Tensor) -> torch.Tensor:
        return actual
