"""A metric over all predictions of an epoch at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import torch

import ignite.distributed as idist
from ignite.exceptions import NotComputableError
from ignite.metrics._sharing import gathered
from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric, reinit__is_reduced

__all__ = ["EpochMetric", "EpochMetricWarning"]


class EpochMetricWarning(UserWarning):
    """The function of an epoch metric failed with the first batch."""


class EpochMetric(Metric):
    """Apply a function to all predictions and targets since the last reset.

    They are kept in memory. In several processes those of all are joined, the function is called in the first process,
    and all have its result.

    `update` takes `(y_pred, y)`, each of shape (N,) or (N, C).

    Attributes:
        compute_fn: the function.

    Args:
        compute_fn: `f(predictions, targets)`.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        check_compute_fn: whether the function is tried with the first batch; if it fails, an
            :class:`EpochMetricWarning` says so.

    Raises:
        TypeError: `compute_fn` is not callable.

    Examples:
        >>> largest = EpochMetric(lambda predictions, targets: (predictions - targets).abs().max().item())
        >>> largest.update((torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])))
        >>> largest.compute()
        2.0
    """

    _state_dict_all_req_keys: ClassVar[tuple[str, ...]] = ("_predictions", "_targets")

    def __init__(
        self,
        compute_fn: Callable[[torch.Tensor, torch.Tensor], Any],
        output_transform: Callable[[Any], Any] = whole,
        check_compute_fn: bool = True,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        if not callable(compute_fn):
            raise TypeError(f"`compute_fn` must be callable with predictions and targets, got {compute_fn!r}")
        self.compute_fn = compute_fn
        self._check_compute_fn = check_compute_fn
        super().__init__(output_transform=output_transform, device=device, skip_unrolling=skip_unrolling)

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self._predictions: list[torch.Tensor] = []
        self._targets: list[torch.Tensor] = []
        self._result: Any = None

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Keep the predictions and targets of a batch.

        Args:
            output: predictions and targets.

        Raises:
            ValueError: a shape is neither (N,) nor (N, C), or a dtype is another than before.
        """
        prediction, target = output[0].detach(), output[1].detach()
        require_rows(prediction, target)
        kept = []
        for name, values, stored in (("y_pred", prediction, self._predictions), ("y", target, self._targets)):
            if stored and stored[-1].dtype != values.dtype:
                raise ValueError(
                    f"`{name}` must keep its dtype {stored[-1].dtype} until the next reset, got {values.dtype}"
                )
            if values.dim() == 2 and values.shape[1] == 1:
                values = values.squeeze(dim=-1)
            kept.append(values.clone().to(self._device))
        self._predictions.append(kept[0])
        self._targets.append(kept[1])
        if self._check_compute_fn and len(self._predictions) == 1:
            self._try_compute_fn()

    def _try_compute_fn(self) -> None:
        try:
            self.compute_fn(self._predictions[0], self._targets[0])
        except Exception as error:  # noqa: BLE001  # the user's function may raise anything, which becomes a warning
            warnings.warn(f"`compute_fn` fails with the first batch: {error}", EpochMetricWarning, stacklevel=3)

    def compute(self) -> Any:
        """Return what the function makes of all predictions and targets.

        Returns:
            The function's result.

        Raises:
            NotComputableError: there is no batch yet.
        """
        if self._result is None:
            predictions, targets = self._joined()
            result = self._apply(predictions, targets) if idist.get_rank() == 0 else None
            self._result = gathered(result)[0]
        return self._result

    def _apply(self, predictions: torch.Tensor, targets: torch.Tensor) -> Any:
        return self.compute_fn(predictions, targets)

    def _joined(self) -> tuple[torch.Tensor, torch.Tensor]:
        own = None if not self._predictions else (torch.cat(self._predictions, dim=0), torch.cat(self._targets, dim=0))
        shares = [share for share in gathered(own) if share is not None]
        if not shares:
            raise NotComputableError(f"{type(self).__name__} needs at least one batch before it is computed")
        predictions, targets = (torch.cat(parts, dim=0).to(self._device) for parts in zip(*shares, strict=True))
        return predictions, targets


def require_rows(prediction: torch.Tensor, target: torch.Tensor) -> None:
    """Refuse what is not a number, or a row of numbers, for each sample.

    Args:
        prediction, target: of shape (N,) or (N, C).

    Raises:
        ValueError: a shape is another.
    """
    for name, values in (("y_pred", prediction), ("y", target)):
        if values.dim() not in (1, 2):
            raise ValueError(f"`{name}` must have the shape (N,) or (N, C), got {tuple(values.shape)}")
