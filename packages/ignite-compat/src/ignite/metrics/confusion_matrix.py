"""The confusion matrix, and what is computed from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric, reinit__is_reduced, sync_all_reduce
from ignite.metrics.metrics_lambda import MetricsLambda

__all__ = [
    "ConfusionMatrix",
    "DiceCoefficient",
    "IoU",
    "JaccardIndex",
    "cmAccuracy",
    "cmPrecision",
    "cmRecall",
    "mIoU",
]

AVERAGES = (None, "samples", "recall", "precision")


class ConfusionMatrix(Metric):
    """Confusion matrix of shape (C, C): rows are targets, columns are predictions.

    `update` takes `(y_pred, y)`: scores of shape (N, C, *) and classes of shape (N, *). Targets outside of
    0 to C - 1 are left out.

    Args:
        num_classes: the number of classes C, more than 1.
        average: what the counts are divided by: None, by nothing; "samples", the number of samples; "recall",
            the sum of their row; "precision", the sum of their column.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.

    Raises:
        ValueError: `num_classes` is less than 2, or `average` is none of these.

    Examples:
        >>> matrix = ConfusionMatrix(num_classes=2)
        >>> matrix.update((torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1])))
        >>> matrix.compute()
        tensor([[0, 0],
                [1, 1]])
    """

    _state_dict_all_req_keys = ("confusion_matrix", "_num_examples")

    def __init__(
        self,
        num_classes: int,
        average: Literal["samples", "recall", "precision"] | None = None,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = True,
    ) -> None:
        if average not in AVERAGES or isinstance(average, bool):
            raise ValueError(f"`average` must be one of {AVERAGES}, got {average!r}")
        if num_classes < 2:
            raise ValueError(f"`num_classes` must be at least 2, got {num_classes!r}")
        self.num_classes = num_classes
        self.average = average
        super().__init__(output_transform=output_transform, device=device, skip_unrolling=skip_unrolling)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self.confusion_matrix = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64, device=self._device)
        self._num_examples = 0

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Count the pairs of target and prediction of a batch.

        Args:
            output: scores and classes.

        Raises:
            ValueError: the shapes do not fit, or the number of classes is another.
        """
        scores, target = output[0].detach(), output[1].detach()
        self._require_fitting_shapes(scores, target)
        self._num_examples += scores.shape[0]
        prediction, target = scores.argmax(dim=1).reshape(-1), target.reshape(-1)
        known = (target >= 0) & (target < self.num_classes)
        pairs = self.num_classes * target[known].long() + prediction[known]
        counts = pairs.bincount(minlength=self.num_classes**2).reshape(self.num_classes, self.num_classes)
        self.confusion_matrix += counts.to(self.confusion_matrix)

    def _require_fitting_shapes(self, scores: torch.Tensor, target: torch.Tensor) -> None:
        shapes = f"{tuple(scores.shape)} and {tuple(target.shape)}"
        if scores.dim() != target.dim() + 1 or scores.shape[:1] + scores.shape[2:] != target.shape:
            raise ValueError(f"`y_pred` and `y` must have the shapes (N, C, *) and (N, *), got {shapes}")
        if scores.shape[1] != self.num_classes:
            raise ValueError(f"`y_pred` must have scores for {self.num_classes} classes, got {scores.shape[1]}")

    @sync_all_reduce("confusion_matrix", "_num_examples")
    def compute(self) -> torch.Tensor:
        """Return the matrix.

        Returns:
            Counts, or floating-point numbers where these are divided.

        Raises:
            NotComputableError: there is no sample yet.
        """
        if self._num_examples == 0:
            raise NotComputableError("ConfusionMatrix needs at least one sample before it is computed")
        if self.average is None:
            return self.confusion_matrix.clone()
        if self.average == "samples":
            return self.confusion_matrix / self._num_examples
        return self.normalize(self.confusion_matrix, self.average)

    @staticmethod
    def normalize(matrix: torch.Tensor, average: str) -> torch.Tensor:
        """Divide the counts of a matrix by the sums of their rows or columns.

        Args:
            matrix: of shape (C, C).
            average: "recall" for the rows' sums, "precision" for the columns'.

        Returns:
            A tensor of floating-point numbers.

        Raises:
            ValueError: `average` is neither.

        Examples:
            >>> ConfusionMatrix.normalize(torch.tensor([[1, 3], [0, 2]]), "recall")
            tensor([[0.2500, 0.7500],
                    [0.0000, 1.0000]])
        """
        if average not in ("recall", "precision"):
            raise ValueError(f"`average` must be 'recall' or 'precision', got {average!r}")
        return matrix / (matrix.sum(dim=1 if average == "recall" else 0, keepdim=average == "recall") + 1e-15)


def _counts(cm: ConfusionMatrix) -> MetricsLambda:
    return cm.to(torch.float64)


def _ratio(part: MetricsLambda, whole: MetricsLambda) -> MetricsLambda:
    return part / (whole + 1e-15)  # 0 where there is nothing


def _require_matrix(cm: object, averages: tuple[str | None, ...] = AVERAGES) -> None:
    if not isinstance(cm, ConfusionMatrix):
        raise TypeError(f"`cm` must be a ConfusionMatrix, got {cm!r}")
    if cm.average not in averages:
        raise ValueError(f"`cm` must have an average of {averages}, got {cm.average!r}")


def _without(metric: MetricsLambda, ignore_index: int | None, num_classes: int) -> MetricsLambda:
    """Leave out the result of one class."""
    if ignore_index is None:
        return metric
    if not isinstance(ignore_index, int) or not 0 <= ignore_index < num_classes:
        raise ValueError(f"`ignore_index` must be a class from 0 to {num_classes - 1}, got {ignore_index!r}")
    return metric[[index for index in range(num_classes) if index != ignore_index]]


def IoU(cm: ConfusionMatrix, ignore_index: int | None = None) -> MetricsLambda:  # noqa: N802  # Ignite's name
    """Return a metric of the intersection over the union of targets and predictions, by class.

    Args:
        cm: the confusion matrix to compute it from.
        ignore_index: a class to leave out.

    Returns:
        The metric; its result is a tensor of shape (C,), or one shorter.

    Raises:
        TypeError: `cm` is no confusion matrix.
        ValueError: it is divided by class, or `ignore_index` is no class of it.

    Examples:
        >>> metric = IoU(ConfusionMatrix(num_classes=2))
        >>> metric.update((torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.9, 0.1]]), torch.tensor([1, 1, 0])))
        >>> metric.compute()
        tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    _require_matrix(cm, (None, "samples"))
    counts = _counts(cm)
    union = counts.sum(dim=1) + counts.sum(dim=0) - counts.diagonal()
    return _without(_ratio(counts.diagonal(), union), ignore_index, cm.num_classes)


def JaccardIndex(cm: ConfusionMatrix, ignore_index: int | None = None) -> MetricsLambda:  # noqa: N802  # Ignite's name
    """Return a metric of the Jaccard index: another name of :func:`IoU`.

    Args:
        cm: the confusion matrix to compute it from.
        ignore_index: a class to leave out.

    Returns:
        The metric; its result is a tensor of shape (C,), or one shorter.

    Examples:
        >>> metric = JaccardIndex(ConfusionMatrix(num_classes=2))
    """
    return IoU(cm, ignore_index)


def mIoU(cm: ConfusionMatrix, ignore_index: int | None = None) -> MetricsLambda:  # noqa: N802  # Ignite's name
    """Return a metric of the mean of :func:`IoU` over the classes.

    Args:
        cm: the confusion matrix to compute it from.
        ignore_index: a class to leave out.

    Returns:
        The metric; its result is a tensor of no dimension.

    Examples:
        >>> metric = mIoU(ConfusionMatrix(num_classes=2), ignore_index=0)
    """
    return IoU(cm, ignore_index).mean()


def DiceCoefficient(cm: ConfusionMatrix, ignore_index: int | None = None) -> MetricsLambda:  # noqa: N802  # Ignite's name
    """Return a metric of the Dice coefficient, twice the intersection over the sum of both sizes, by class.

    Args:
        cm: the confusion matrix to compute it from.
        ignore_index: a class to leave out.

    Returns:
        The metric; its result is a tensor of shape (C,), or one shorter.

    Raises:
        TypeError: `cm` is no confusion matrix.
        ValueError: `ignore_index` is no class of it.

    Examples:
        >>> metric = DiceCoefficient(ConfusionMatrix(num_classes=2))
    """
    _require_matrix(cm)
    counts = _counts(cm)
    sizes = counts.sum(dim=1) + counts.sum(dim=0)
    return _without(_ratio(2.0 * counts.diagonal(), sizes), ignore_index, cm.num_classes)


def cmAccuracy(cm: ConfusionMatrix) -> MetricsLambda:  # noqa: N802  # Ignite's name
    """Return a metric of the accuracy.

    Args:
        cm: the confusion matrix to compute it from.

    Returns:
        The metric; its result is a tensor of no dimension.
    """
    counts = _counts(cm)
    return _ratio(counts.diagonal().sum(), counts.sum())


def cmPrecision(cm: ConfusionMatrix, average: bool = True) -> MetricsLambda:  # noqa: N802  # Ignite's name
    """Return a metric of the precision.

    Args:
        cm: the confusion matrix to compute it from.
        average: whether its result is the mean over the classes.

    Returns:
        The metric; its result is a tensor.
    """
    counts = _counts(cm)
    precision = _ratio(counts.diagonal(), counts.sum(dim=0))
    return precision.mean() if average else precision


def cmRecall(cm: ConfusionMatrix, average: bool = True) -> MetricsLambda:  # noqa: N802  # Ignite's name
    """Return a metric of the recall.

    Args:
        cm: the confusion matrix to compute it from.
        average: whether its result is the mean over the classes.

    Returns:
        The metric; its result is a tensor.
    """
    counts = _counts(cm)
    recall = _ratio(counts.diagonal(), counts.sum(dim=1))
    return recall.mean() if average else recall
