"""Precision, recall and F score of each class."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch

from ignite.metrics._transform import whole
from ignite.metrics.fbeta import Fbeta
from ignite.metrics.metric import ResultMode
from ignite.metrics.metrics_lambda import MetricsLambda
from ignite.metrics.precision import Precision
from ignite.metrics.recall import Recall

__all__ = ["ClassificationReport"]


def ClassificationReport(  # noqa: N802  # Ignite's name
    beta: int = 1,
    output_dict: bool = False,
    output_transform: Callable[[Any], Any] = whole,
    device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
    is_multilabel: bool = False,
    labels: list[str] | None = None,
    metrics_result_mode: ResultMode = "both",
) -> MetricsLambda:
    """Return a metric of precision, recall and F score of each class, and of their means.

    Args:
        beta: weight of recall in the F score.
        output_dict: whether the result is a dictionary or its JSON text.
        output_transform: as :class:`Metric` takes it.
        device: as :class:`Metric` takes it.
        is_multilabel: whether each sample may have several labels.
        labels: names of all classes; None for their numbers.
        metrics_result_mode: as :class:`Metric` takes it.

    Returns:
        The metric.

    Examples:
        >>> report = ClassificationReport(output_dict=True)
        >>> report.update((torch.tensor([[0.1, 0.9], [0.2, 0.8], [0.9, 0.1]]), torch.tensor([1, 0, 0])))
        >>> report.compute()["1"]["precision"]
        0.5
    """
    precision = Precision(output_transform, average=False, is_multilabel=is_multilabel, device=device)
    recall = Recall(output_transform, average=False, is_multilabel=is_multilabel, device=device)
    score = Fbeta(beta, average=False, precision=precision, recall=recall)
    averages = [metric.mean().item() for metric in (precision, recall, score)]
    return MetricsLambda(
        Report(f"f{beta}-score", labels, as_text=not output_dict),
        precision,
        recall,
        score,
        *averages,
        metrics_result_mode=metrics_result_mode,
    )


class Report:
    """Arranges results of classes by class.

    Args:
        score_name: what the F score is called.
        labels: names of the classes; None for their numbers.
        as_text: whether the report is JSON text.
    """

    def __init__(self, score_name: str, labels: list[str] | None, *, as_text: bool) -> None:
        self.names = ("precision", "recall", score_name)
        self.labels = labels
        self.as_text = as_text

    def __call__(self, *results: Any) -> dict[str, dict[str, float]] | str:
        """Return the report of three results by class and the three means."""
        columns = [result.reshape(-1).tolist() for result in results[:3]]
        labels = [str(index) for index in range(len(columns[0]))] if self.labels is None else self.labels
        rows = dict(zip(labels, zip(*columns, strict=True), strict=True)) | {"macro avg": results[3:]}
        report = {label: dict(zip(self.names, row, strict=True)) for label, row in rows.items()}
        return json.dumps(report) if self.as_text else report
