"""Areas and curves over all thresholds of scores, in double precision, as scikit-learn defines them.

torchmetrics has the same curves in single precision only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch

Curve = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def roc_auc(scores: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the area under the curve of true positives over false positives.

    Args:
        scores: of shape (N,) or (N, C).
        targets: two values of which the greater is the positive one, of the same shape.

    Returns:
        The area, for columns their mean; NaN with a warning where there is only one value.

    Raises:
        ValueError: there are more than two values, the shapes do not fit, or a score is NaN.
    """
    if targets.dim() != scores.dim():
        raise ValueError("`y` must have a column for each column of `y_pred`")
    return _mean_over_columns(_area, scores, targets)


def average_precision(scores: torch.Tensor, targets: torch.Tensor) -> float:
    """Return the mean of the precisions at each threshold, weighted by the increase in recall.

    Args:
        scores: of shape (N,) or (N, C).
        targets: two values of which the greater is the positive one, of the same shape; or
            classes of shape (N,) for scores of shape (N, C).

    Returns:
        The mean, for columns their mean; 0 with a warning where nothing is positive.

    Raises:
        ValueError: there are more than two values without a score for each, or a score is NaN.
    """
    if targets.dim() == 1 and scores.dim() == 2:
        targets = torch.nn.functional.one_hot(targets.long(), scores.shape[1])
    return _mean_over_columns(_precision, scores, targets)


def precision_recall_curve(scores: torch.Tensor, targets: torch.Tensor) -> Curve:
    """Return precisions and recalls at each threshold.

    Args:
        scores: of shape (N,).
        targets: two values of which the greater is the positive one, of shape (N,).

    Returns:
        Precisions and recalls with a last point (1, 0), and the thresholds in ascending order. Where
        nothing is positive all recalls are 1, with a warning.

    Raises:
        ValueError: there are more than two values, or a score is NaN.
    """
    false, true, thresholds = _counts(scores, targets)
    precision = true / (true + false)
    if true[-1] == 0:
        warnings.warn("`y` has no positive sample: all recalls are 1", UserWarning, stacklevel=2)
    recall = true / true[-1] if true[-1] else torch.ones_like(true)
    one, zero = true.new_ones(1), true.new_zeros(1)
    return torch.cat((precision.flip(0), one)), torch.cat((recall.flip(0), zero)), thresholds.flip(0)


def roc_curve(scores: torch.Tensor, targets: torch.Tensor) -> Curve:
    """Return rates of false and true positives at each threshold, without points between others on a straight line.

    Args:
        scores: of shape (N,).
        targets: two values of which the greater is the positive one, of shape (N,).

    Returns:
        Rates of false positives, rates of true positives, and thresholds in descending order, the
        first of which is infinite. Rates of what does not occur are NaN, with a warning.

    Raises:
        ValueError: there are more than two values, or a score is NaN.
    """
    false, true, thresholds = _counts(scores, targets)
    corners = torch.ones_like(true, dtype=torch.bool)
    corners[1:-1] = (false.diff(n=2) != 0) | (true.diff(n=2) != 0)
    rates = []
    for counts, name in ((false[corners], "negative"), (true[corners], "positive")):
        if counts[-1] == 0:
            warnings.warn(f"`y` has no {name} sample: its rates are NaN", UserWarning, stacklevel=2)
        rates.append(torch.cat((counts.new_zeros(1), counts)) / (counts[-1] or torch.nan))
    return rates[0], rates[1], torch.cat((thresholds.new_full((1,), torch.inf), thresholds[corners]))


def _counts(scores: torch.Tensor, targets: torch.Tensor) -> Curve:
    """Return the numbers of false and true positives at each threshold, and the thresholds in descending order."""
    if targets.dim() > 1 or scores.shape != targets.shape:
        raise ValueError(
            f"`y_pred` and `y` must have one shape (N,), got {tuple(scores.shape)} and {tuple(targets.shape)}"
        )
    values = torch.unique(targets)
    if len(values) > 2:
        raise ValueError(f"`y` must have at most two values, got {values.tolist()}")
    if scores.isnan().any():
        raise ValueError("`y_pred` must have no NaN")
    positive = (targets == (values[-1] if len(values) > 1 else 1)).double()
    order = scores.argsort(descending=True, stable=True)
    scores, positive = scores[order].double(), positive[order]
    last_of_level = torch.cat((scores.diff() != 0, torch.ones(1, dtype=torch.bool, device=scores.device)))
    true = positive.cumsum(dim=0)[last_of_level]
    total = 1.0 + torch.arange(len(scores), dtype=torch.float64, device=scores.device)[last_of_level]
    return total - true, true, scores[last_of_level]


def _mean_over_columns(
    measure: Callable[[torch.Tensor, torch.Tensor], float], scores: torch.Tensor, targets: torch.Tensor
) -> float:
    if targets.dim() == 1:
        return measure(scores, targets)
    if scores.shape != targets.shape:
        raise ValueError("`y` must have a column for each column of `y_pred`")
    return float(np.mean([measure(*columns) for columns in zip(scores.T, targets.T, strict=True)]))


def _area(scores: torch.Tensor, targets: torch.Tensor) -> float:
    false, true, _ = roc_curve(scores, targets)
    return float(np.trapezoid(true.cpu().numpy(), false.cpu().numpy()))


def _precision(scores: torch.Tensor, targets: torch.Tensor) -> float:
    precision, recall, _ = precision_recall_curve(scores, targets)
    # numpy adds up in another order than torch, and this one is scikit-learn's.
    return max(0.0, -float(np.sum(recall.diff().cpu().numpy() * precision[:-1].cpu().numpy())))
