"""The share of correct predictions."""

from __future__ import annotations

from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._classification import ClassificationMetric, flat_labels
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce

__all__ = ["Accuracy"]


class Accuracy(ClassificationMetric):
    """Share of correct predictions, over binary, multiclass or multilabel samples.

    `update` takes `(y_pred, y)`: scores of shape (N, C, *) with classes of shape (N, *); zeros and
    ones of one shape (N, *); or, multilabel, zeros and ones of one shape (N, C, *), where a sample
    is correct if all its labels are.

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        is_multilabel: whether each sample may have several labels.

    Examples:
        >>> accuracy = Accuracy()
        >>> accuracy.update((torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1])))
        >>> accuracy.compute()
        0.5
    """

    _state_dict_all_req_keys = ("_num_correct", "_num_examples")

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self._num_correct = torch.tensor(0, device=self._device)
        self._num_examples = 0
        super().reset()

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Count the correct predictions of a batch.

        Args:
            output: predictions and targets.

        Raises:
            ValueError: the shapes do not fit, values of binary labels are not 0 and 1, or the
                number of classes has changed.
            RuntimeError: the kind of labels has changed.
        """
        prediction, target = self._checked(output)
        if self._type == "multilabel":
            same = flat_labels(prediction).type_as(flat_labels(target)) == flat_labels(target)
            correct = same.all(dim=-1)
        elif self._type == "multiclass":
            correct = prediction.argmax(dim=1) == target
        else:
            correct = prediction.reshape(-1).to(target) == target.reshape(-1)
        self._num_correct += correct.sum().to(self._device)
        self._num_examples += correct.numel()

    @sync_all_reduce("_num_examples", "_num_correct")
    def compute(self) -> float:
        """Return the share of correct predictions.

        Returns:
            A number from 0 to 1.

        Raises:
            NotComputableError: there is no sample yet.
        """
        if self._num_examples == 0:
            raise NotComputableError("Accuracy needs at least one sample before it is computed")
        return float(self._num_correct.item() / self._num_examples)
