"""The agreement of predicted and true classes beyond chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from ignite.metrics._contingency import contingency
from ignite.metrics._sharing import reduced
from ignite.metrics._transform import whole
from ignite.metrics.epoch_metric import EpochMetric
from ignite.metrics.metric import reinit__is_reduced

__all__ = ["CohenKappa"]

WEIGHTS = (None, "linear", "quadratic")


class CohenKappa(EpochMetric):
    """Cohen's kappa of predicted and true classes.

    `update` takes `(y_pred, y)`: classes of shape (N,).

    Args:
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        weights: how much a disagreement counts: None, one as another; "linear" or "quadratic", by
            the distance of the classes.
        check_compute_fn: whether the function is tried with the first batch; if it fails, a warning says so.
        num_classes: the number of classes, at least 2: then pairs of classes are counted. None: all
            predictions are kept in memory, and the classes are those that occur.

    Raises:
        ValueError: `weights` is none of these, or `num_classes` is less than 2.

    Examples:
        >>> metric = CohenKappa()
        >>> metric.update((torch.tensor([1, 1, 1, 0]), torch.tensor([1, 1, 0, 0])))
        >>> metric.compute()
        0.5
    """

    _state_dict_all_req_keys = ("_predictions", "_targets", "_pairs")

    def __init__(
        self,
        output_transform: Callable[[Any], Any] = whole,
        weights: Literal["linear", "quadratic"] | None = None,
        check_compute_fn: bool = False,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
        num_classes: int | None = None,
    ) -> None:
        if weights not in WEIGHTS:
            raise ValueError(f"`weights` must be one of {WEIGHTS}, got {weights!r}")
        if num_classes is not None and num_classes < 2:
            raise ValueError(f"`num_classes` must be at least 2, got {num_classes!r}")
        self.weights = weights
        self.num_classes = num_classes
        super().__init__(
            self._kappa_of_samples,
            output_transform=output_transform,
            check_compute_fn=check_compute_fn,
            device=device,
            skip_unrolling=skip_unrolling,
        )

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        size = self.num_classes or 0
        self._pairs = torch.zeros(size, size, dtype=torch.int64, device=self._device)

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Count or keep the classes of a batch.

        Args:
            output: predictions and targets.

        Raises:
            ValueError: a shape is not (N,), or a class is out of range.
        """
        super().update(output)
        if self.num_classes is not None:
            prediction, target = self._predictions.pop().long(), self._targets.pop().long()
            _require_classes(prediction, target)
            pairs = (target * self.num_classes + prediction).bincount(minlength=self.num_classes**2)
            self._pairs += pairs.reshape(self.num_classes, self.num_classes)
            self._result = None

    def compute(self) -> float:
        """Return Cohen's kappa.

        Returns:
            1 for full agreement, 0 for that of chance.

        Raises:
            NotComputableError: there is no batch yet.
        """
        if self.num_classes is None:
            return float(super().compute())
        counts = reduced(self._pairs, "_pairs")
        if not counts.any():
            self._joined()  # raises
        return self._kappa(counts)

    def _kappa_of_samples(self, predictions: torch.Tensor, targets: torch.Tensor) -> float:
        _require_classes(predictions, targets)
        return self._kappa(contingency(predictions, targets))

    def _kappa(self, counts: torch.Tensor) -> float:
        counts = counts.double().cpu()
        classes = torch.arange(len(counts), dtype=torch.float64)
        distances = (classes.unsqueeze(0) - classes.unsqueeze(1)).abs()
        weights = {None: distances.clamp(max=1), "linear": distances, "quadratic": distances**2}[self.weights]
        by_chance = counts.sum(dim=1).outer(counts.sum(dim=0)) / counts.sum()
        expected = (weights * by_chance).sum()
        # Without any disagreement by chance there is nothing to be better than.
        return float((1 - (weights * counts).sum() / expected).item()) if expected > 0 else 0.0


def _require_classes(predictions: torch.Tensor, targets: torch.Tensor) -> None:
    if predictions.dim() != 1 or targets.dim() != 1:
        raise ValueError("`y_pred` and `y` must be classes of shape (N,); apply argmax in `output_transform`")
