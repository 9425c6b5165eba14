"""Which true class was predicted as which, for classes that nobody has named."""

from __future__ import annotations

import torch


def contingency(predictions: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the numbers of samples with each pair of true and predicted class.

    Args:
        predictions: classes of shape (N,), or scores of shape (N, C).
        targets: classes of shape (N,), or one-hot vectors of shape (N, C).

    Returns:
        A tensor of shape (K, K) for the K classes that occur, in ascending order: rows are true classes.

    Raises:
        ValueError: the numbers of samples differ.
    """
    predicted, true = (each.argmax(dim=1) if each.dim() > 1 else each for each in (predictions, targets))
    if len(predicted) != len(true):
        raise ValueError(f"`y_pred` and `y` must be of one length, got {len(predicted)} and {len(true)}")
    classes, places = torch.unique(torch.cat((true, predicted.to(true.device))), return_inverse=True)
    pairs = places[: len(true)] * len(classes) + places[len(true) :]
    counts: torch.Tensor = pairs.bincount(minlength=len(classes) ** 2)
    return counts.reshape(len(classes), len(classes))
