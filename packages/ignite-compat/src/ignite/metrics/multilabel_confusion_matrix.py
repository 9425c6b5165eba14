"""A confusion matrix for each label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._classification import flat_labels
from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric, reinit__is_reduced, sync_all_reduce

__all__ = ["MultiLabelConfusionMatrix"]

TYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class MultiLabelConfusionMatrix(Metric):
    """Confusion matrices of shape (C, 2, 2), one per label: rows are targets, columns are predictions.

    `update` takes `(y_pred, y)`: 0 and 1 of an integer type, both of shape (N, C, *).

    Args:
        num_classes: the number of labels C, more than 1.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        normalized: whether the counts of each label are divided by their sum.

    Raises:
        ValueError: `num_classes` is less than 2.

    Examples:
        >>> matrix = MultiLabelConfusionMatrix(num_classes=2)
        >>> matrix.update((torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 1], [0, 1]])))
        >>> matrix.compute()
        tensor([[[1, 1],
                 [0, 0]],
        <BLANKLINE>
                [[0, 0],
                 [0, 2]]])
    """

    _state_dict_all_req_keys = ("confusion_matrix", "_num_examples")

    def __init__(
        self,
        num_classes: int,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        normalized: bool = False,
        skip_unrolling: bool = False,
    ) -> None:
        if num_classes < 2:
            raise ValueError(f"`num_classes` must be at least 2, got {num_classes!r}")
        self.num_classes = num_classes
        self.normalized = normalized
        super().__init__(output_transform=output_transform, device=device, skip_unrolling=skip_unrolling)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self.confusion_matrix = torch.zeros(self.num_classes, 2, 2, dtype=torch.int64, device=self._device)
        self._num_examples = 0

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Count the pairs of target and prediction of a batch.

        Args:
            output: predictions and targets.

        Raises:
            ValueError: the shapes, types or values do not fit.
        """
        prediction, target = output[0].detach(), output[1].detach()
        self._require_labels(prediction, target)
        self._num_examples += prediction.shape[0]
        prediction, target = flat_labels(prediction).long(), flat_labels(target).long()
        labels = torch.arange(self.num_classes, device=prediction.device)
        cells = (4 * labels + 2 * target + prediction).reshape(-1)
        counts = cells.bincount(minlength=4 * self.num_classes).reshape(self.num_classes, 2, 2)
        self.confusion_matrix += counts.to(self._device)

    def _require_labels(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        shapes = f"{tuple(prediction.shape)} and {tuple(target.shape)}"
        if prediction.dim() < 2 or prediction.shape != target.shape:
            raise ValueError(f"`y_pred` and `y` must have one shape (N, C, *), got {shapes}")
        if prediction.shape[1] != self.num_classes:
            raise ValueError(f"`y_pred` and `y` must have {self.num_classes} labels, got {shapes}")
        for name, values in (("y_pred", prediction), ("y", target)):
            if values.dtype not in TYPES:
                raise ValueError(f"`{name}` must be of an integer type, got {values.dtype}")
            if not torch.equal(values, values**2):
                raise ValueError(f"`{name}` must consist of 0 and 1")

    @sync_all_reduce("confusion_matrix", "_num_examples")
    def compute(self) -> torch.Tensor:
        """Return the matrices.

        Returns:
            Counts, or doubles where they are divided.

        Raises:
            NotComputableError: there is no sample yet.
        """
        if self._num_examples == 0:
            raise NotComputableError("MultiLabelConfusionMatrix needs at least one sample before it is computed")
        if not self.normalized:
            return self.confusion_matrix.clone()
        counts = self.confusion_matrix.double()
        return counts / counts.sum(dim=(1, 2), keepdim=True)
