"""The mean of a loss over samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric, reinit__is_reduced, sync_all_reduce

__all__ = ["Loss"]


class Loss(Metric):
    """Mean of a loss over all samples: batches count by their size.

    `update` takes `(y_pred, y)` or `(y_pred, y, kwargs)`; an output that is a mapping must have all
    of `required_output_keys`.

    Attributes:
        required_output_keys: "y_pred", "y" and "criterion_kwargs", what `loss_fn` gets by name.

    Args:
        loss_fn: `f(y_pred, y, **kwargs)`: returns the mean over the batch.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        batch_size: takes `y` and returns how many samples it has.

    Examples:
        >>> loss = Loss(torch.nn.functional.mse_loss)
        >>> loss.update((torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])))
        >>> loss.update((torch.tensor([1.0]), torch.tensor([3.0])))
        >>> round(loss.compute(), 4)
        1.6667
    """

    required_output_keys = ("y_pred", "y", "criterion_kwargs")
    _state_dict_all_req_keys = ("_sum", "_num_examples")

    def __init__(
        self,
        loss_fn: Callable[..., torch.Tensor],
        output_transform: Callable[[Any], Any] = whole,
        batch_size: Callable[[Any], int] = len,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
    ) -> None:
        super().__init__(output_transform, device=device, skip_unrolling=skip_unrolling)
        self._loss_fn = loss_fn
        self._batch_size = batch_size

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self._sum = torch.tensor(0.0, device=self._device)
        self._num_examples = 0

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add the loss of a batch.

        Args:
            output: predictions, targets, and keyword arguments of the loss if there are any.

        Raises:
            ValueError: the loss is not a single number.
        """
        prediction, target, *rest = output
        (kwargs,) = rest or ({},)
        loss = torch.as_tensor(self._loss_fn(prediction, target, **kwargs)).detach()
        if loss.dim() > 0:
            raise ValueError(f"`loss_fn` must return the mean over the batch, got shape {tuple(loss.shape)}")
        count = self._batch_size(target)
        self._sum += loss.to(self._device) * count
        self._num_examples += count

    @sync_all_reduce("_sum", "_num_examples")
    def compute(self) -> float:
        """Return the mean.

        Returns:
            The mean over all samples.

        Raises:
            NotComputableError: there is no sample yet.
        """
        if self._num_examples == 0:
            raise NotComputableError("Loss needs at least one sample before it is computed")
        return float(self._sum.item() / self._num_examples)
