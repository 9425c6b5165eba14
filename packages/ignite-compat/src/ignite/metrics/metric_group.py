"""Several metrics under one name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric

__all__ = ["MetricGroup"]


class MetricGroup(Metric):
    """Several metrics that are reset, updated and computed together.

    Attributes:
        metrics: the metrics by name.

    Args:
        metrics: names to metrics. What the group takes in goes through each one's own `output_transform` too.
        output_transform, skip_unrolling: as :class:`Metric` takes them.

    Examples:
        >>> import torch
        >>> from ignite.metrics import Accuracy, Loss
        >>> group = MetricGroup({"accuracy": Accuracy(), "loss": Loss(torch.nn.functional.nll_loss)})
        >>> group.update((torch.tensor([[-1.0, 0.0], [0.0, -1.0]]), torch.tensor([1, 1])))
        >>> group.compute()
        {'accuracy': 0.5, 'loss': 0.5}
    """

    _state_dict_all_req_keys = ("metrics",)

    def __init__(
        self,
        metrics: Mapping[str, Metric],
        output_transform: Callable[[Any], Any] = whole,
        skip_unrolling: bool = False,
    ) -> None:
        self.metrics = metrics
        super().__init__(output_transform=output_transform, skip_unrolling=skip_unrolling)

    def reset(self) -> None:
        """Reset each metric."""
        for metric in self.metrics.values():
            metric.reset()

    def update(self, output: Any) -> None:
        """Update each metric.

        Args:
            output: what each metric's `output_transform` takes.
        """
        for metric in self.metrics.values():
            metric.update(metric._output_transform(output))  # noqa: SLF001  # of this package

    def compute(self) -> dict[str, Any]:
        """Compute each metric.

        Returns:
            Names to results.
        """
        return {name: metric.compute() for name, metric in self.metrics.items()}
