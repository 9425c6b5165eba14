"""What metrics of classes share: which kind of labels the predictions have, and whether the shapes fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric


class ClassificationMetric(Metric):
    """Base of metrics over binary, multiclass or multilabel predictions.

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        is_multilabel: whether each sample may have several labels.
    """

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        is_multilabel: bool = False,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        self._is_multilabel = is_multilabel
        self._type: str | None = None
        self._num_classes: int | None = None
        super().__init__(output_transform=output_transform, device=device, skip_unrolling=skip_unrolling)

    def reset(self) -> None:
        """Forget the kind of labels and the number of classes."""
        self._type = None
        self._num_classes = None

    def _checked(self, output: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return predictions and targets, detached; remember which kind of labels they have.

        Raises:
            ValueError: the shapes do not fit, values of binary labels are not 0 and 1, or the
                number of classes has changed.
            RuntimeError: the kind of labels has changed.
        """
        prediction, target = output[0].detach(), output[1].detach()
        require_fitting_shapes(prediction, target, self._is_multilabel)
        kind, num_classes = _kind_of(prediction, target, self._is_multilabel)
        if kind != "multiclass":
            require_zeros_and_ones(prediction, target)
        if self._type is None:
            self._type, self._num_classes = kind, num_classes
        if self._type != kind:
            raise RuntimeError(f"the kind of labels must stay {self._type!r} until the next reset, got {kind!r}")
        if self._num_classes != num_classes:
            raise ValueError(
                f"the number of classes must stay {self._num_classes} until the next reset, got {num_classes}"
            )
        return prediction, target


def require_fitting_shapes(prediction: torch.Tensor, target: torch.Tensor, is_multilabel: bool) -> None:
    """Refuse predictions and targets whose shapes do not fit.

    Args:
        prediction: of shape (N, *) or (N, C, *).
        target: of shape (N, *), or (N, C, *) where samples have several labels.
        is_multilabel: whether they have.

    Raises:
        ValueError: they do not fit.
    """
    shapes = f"{tuple(prediction.shape)} and {tuple(target.shape)}"
    if prediction.dim() not in (target.dim(), target.dim() + 1):
        raise ValueError(f"`y_pred` must have the shape of `y`, or one dimension of classes more, got {shapes}")
    expected = prediction.shape
    if prediction.dim() == target.dim() + 1:
        expected = prediction.shape[:1] + prediction.shape[2:]
    if expected != target.shape:
        raise ValueError(f"`y_pred` and `y` must have shapes that fit, got {shapes}")
    if is_multilabel and (prediction.shape != target.shape or target.dim() < 2 or target.shape[1] == 1):
        raise ValueError(f"`y_pred` and `y` must both have the shape (N, C, *) with C > 1, got {shapes}")


def require_zeros_and_ones(prediction: torch.Tensor, target: torch.Tensor) -> None:
    """Refuse predictions and targets that are not 0 and 1.

    Args:
        prediction, target: of any shape.

    Raises:
        ValueError: some value is neither.
    """
    for name, values in (("y_pred", prediction), ("y", target)):
        if not torch.equal(values, values**2):
            raise ValueError(f"`{name}` must consist of 0 and 1; threshold it in `output_transform`")


def _kind_of(prediction: torch.Tensor, target: torch.Tensor, is_multilabel: bool) -> tuple[str, int]:
    if prediction.dim() == target.dim():
        return ("multilabel", prediction.shape[1]) if is_multilabel else ("binary", 1)
    num_classes = prediction.shape[1]
    return ("binary" if num_classes == 1 else "multiclass"), num_classes


def flat_labels(values: torch.Tensor) -> torch.Tensor:
    """Return labels of shape (N, C, *) as rows: (N * everything behind C, C)."""
    return values.movedim(1, -1).reshape(-1, values.shape[1])
