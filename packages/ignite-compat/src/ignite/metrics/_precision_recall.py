"""What precision and recall share: how true positives are counted and averaged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._classification import ClassificationMetric, flat_labels
from ignite.metrics._sharing import summed
from ignite.metrics._transform import whole
from ignite.metrics.metric import reinit__is_reduced

Averaging = bool | Literal["macro", "micro", "weighted", "samples"] | None
AVERAGES = (None, True, False, "macro", "micro", "weighted", "samples")


class PrecisionRecall(ClassificationMetric):
    """Base of precision and recall: true positives over a number of positives.

    Args:
        output_transform, is_multilabel, device, skip_unrolling: as the derived classes take them.
        average: how the results of the classes become one.
    """

    _state_dict_all_req_keys = ("_numerator", "_denominator", "_weight", "_updated")

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        average: Averaging = False,
        is_multilabel: bool = False,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        if not (average is None or isinstance(average, bool) or average in AVERAGES[3:]):
            raise ValueError(f"`average` must be one of {AVERAGES}, got {average!r}")
        self._average: Averaging = "macro" if average is True else average
        super().__init__(
            output_transform=output_transform,
            is_multilabel=is_multilabel,
            device=device,
            skip_unrolling=skip_unrolling,
        )

    def _positives(self, predicted: torch.Tensor, actual: torch.Tensor) -> torch.Tensor:
        """Return the one of the two numbers of positives that true positives are divided by."""
        raise NotImplementedError

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self._numerator: Any = 0
        self._denominator: Any = 0
        self._weight: Any = 0
        self._updated = False
        super().reset()

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Count the true positives of a batch.

        Args:
            output: predictions and targets.

        Raises:
            ValueError: the shapes or values do not fit, or the number of classes has changed.
            RuntimeError: the kind of labels has changed.
        """
        prediction, target = self._checked(output)
        if self._average == "samples":
            self._update_samples(prediction, target)
        else:
            self._update_classes(prediction, target)
        self._updated = True

    def _update_samples(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        if self._type != "multilabel":
            raise ValueError(f"`average='samples'` must be used with multilabel samples, got {self._type} ones")
        prediction, target = flat_labels(prediction).double(), flat_labels(target).double()
        positives = self._positives(prediction.sum(dim=1), target.sum(dim=1))
        result = (prediction * target).sum(dim=1) / (positives + 1e-20)
        self._numerator = self._numerator + result.sum().to(self._device)
        self._denominator += target.shape[0]

    def _update_classes(self, prediction: torch.Tensor, target: torch.Tensor) -> None:
        correct, predicted, actual = (count.to(self._device).double() for count in self._counts(prediction, target))
        positives = self._positives(predicted, actual)
        if self._average == "weighted":
            self._weight = self._weight + actual
        if self._average == "micro":
            correct, positives = correct.sum(), positives.sum()
        if self._average is False and self._type == "binary":
            correct, positives = correct[1], positives[1]
        self._numerator = self._numerator + correct
        self._denominator = self._denominator + positives

    def _counts(
        self, prediction: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the numbers of true positives, of positive predictions and of positive targets, by class."""
        if self._type == "multilabel":
            prediction, target = flat_labels(prediction).double(), flat_labels(target).double()
            return (prediction * target).sum(dim=0), prediction.sum(dim=0), target.sum(dim=0)
        num_classes = 2
        if self._type == "multiclass":
            num_classes, prediction = prediction.shape[1], prediction.argmax(dim=1)
        prediction, target = prediction.reshape(-1).long(), target.reshape(-1).long()
        if target.numel() and int(target.max()) >= num_classes:
            raise ValueError(
                f"`y` must hold classes below {num_classes}, the number in `y_pred`, got {int(target.max())}"
            )
        correct = target[prediction == target]
        return (
            correct.bincount(minlength=num_classes),
            prediction.bincount(minlength=num_classes),
            target.bincount(minlength=num_classes),
        )

    def compute(self) -> torch.Tensor | float:
        """Return the result of each class, or the average of them.

        Returns:
            A tensor of doubles where the results are not averaged, else a number.

        Raises:
            NotComputableError: there is no sample yet.
        """
        if not summed(int(self._updated)):
            raise NotComputableError(f"{type(self).__name__} needs at least one sample before it is computed")
        numerator, denominator, weight = (summed(each) for each in (self._numerator, self._denominator, self._weight))
        if self._average == "samples":
            return float(numerator / denominator)
        result: torch.Tensor = numerator / (denominator + 1e-20)
        if self._average == "weighted":
            return float((result @ weight) / (weight.sum() + 1e-20))
        return float(result.mean()) if self._average in ("macro", "micro") else result
