"""Metrics that are not here, and what to use instead."""

from __future__ import annotations

from typing import NoReturn

ELSEWHERE = {
    "CommonObjectDetectionMetrics": "torchmetrics.detection.MeanAveragePrecision",
    "MeanAveragePrecision": "torchmetrics.classification.AveragePrecision",
    "ObjectDetectionAvgPrecisionRecall": "torchmetrics.detection.MeanAveragePrecision",
    "clustering": "torchmetrics.clustering",
    "coco_tensor_list_to_dict_list": "torchmetrics.detection.MeanAveragePrecision",
    "fairness": "torchmetrics.classification.BinaryFairness",
    "vision": "torchmetrics.detection",
}


def refuse(place: str, name: str) -> NoReturn:
    """Raise the error of a name that `ignite.metrics` or a module of it does not have.

    Args:
        place: the module inside `ignite.metrics`, or the name itself.
        name: what is asked for.

    Raises:
        AttributeError: no metric has such a name: one that tools look for, such as `__path__` or `pytest_plugins`.
        ImportError: otherwise.
    """
    if name not in ELSEWHERE and not name[:1].isupper():
        raise AttributeError(f"module 'ignite.metrics.{place}' has no attribute {name!r}")
    full = place if name == place else f"{place}.{name}"
    raise ImportError(f"camshaft-ignite-compat does not have `ignite.metrics.{full}`; use {ELSEWHERE[place]}")
