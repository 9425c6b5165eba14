"""The F score: precision and recall in one number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics.metrics_lambda import MetricsLambda
from ignite.metrics.precision import Precision
from ignite.metrics.recall import Recall

__all__ = ["Fbeta"]


def Fbeta(  # noqa: N802  # Ignite's name
    beta: float,
    average: bool = True,
    precision: Precision | None = None,
    recall: Recall | None = None,
    output_transform: Callable[[Any], Any] | None = None,
    device: str | torch.device | None = None,
) -> MetricsLambda:
    """Return a metric of the F score: the harmonic mean of precision and recall, recall weighted by beta squared.

    Args:
        beta: weight of recall; 1 for the F1 score.
        average: whether the mean over the classes is returned, or a tensor with the score of each.
        precision: a precision with `average=False` to compute it from; None makes one.
        recall: a recall with `average=False` to compute it from; None makes one.
        output_transform: as :class:`Metric` takes it, for the metrics that are made here.
        device: as :class:`Metric` takes it, for the metrics that are made here.

    Returns:
        The metric.

    Raises:
        ValueError: `beta` is not positive; `precision` or `recall` averages; or
            `output_transform` or `device` are given together with one of them.

    Examples:
        >>> score = Fbeta(beta=1.0)
        >>> score.update((torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 1, 0])))
        >>> round(score.compute(), 4)
        0.8
    """
    if not beta > 0:
        raise ValueError(f"`beta` must be positive, got {beta!r}")
    options = {"output_transform": output_transform, "device": device}
    given = {name: value for name, value in options.items() if value is not None}
    for name, metric in (("precision", precision), ("recall", recall)):
        if metric is None:
            continue
        if given:
            raise ValueError(f"`{name}` must not be given together with {sorted(given)}; it has its own")
        if metric._average:  # noqa: SLF001  # of this package
            raise ValueError(f"`{name}` must have average=False, got {metric._average!r}")  # noqa: SLF001  # of this package
    precision = Precision(average=False, **given) if precision is None else precision  # type: ignore[arg-type]  # each has its own type
    recall = Recall(average=False, **given) if recall is None else recall  # type: ignore[arg-type]  # as above
    score = (1.0 + beta**2) * precision * recall / (beta**2 * precision + recall + 1e-15)
    return score.mean().item() if average else score
