"""The Inception score of images."""

from __future__ import annotations

from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics.gan.utils import FeatureMetric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce

__all__ = ["InceptionScore"]


class InceptionScore(FeatureMetric):
    """Inception score: exponential of the mean divergence of an image's classes from those of all images.

    `update` takes images.

    Args:
        num_features: how many classes the model gives.
        feature_extractor: gives probabilities of shape (N, num_features); None takes the images as they are, and
            without `num_features` too, torchvision's Inception v3 makes 1000 of them.
        output_transform, device: as :class:`Metric` takes them.

    Raises:
        ModuleNotFoundError: the default model is asked for, and torchvision is not installed.
        ValueError: `num_features` is not positive, or missing.
        TypeError: `feature_extractor` is not a module.

    Examples:
        >>> score = InceptionScore(num_features=2)
        >>> score.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> round(score.compute(), 4)
        2.0
    """

    _state_dict_all_req_keys = ("_num_examples", "_prob_total", "_total_kl_d")

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        self._num_examples = 0
        self._prob_total, self._total_kl_d = (
            torch.zeros(self._num_features, dtype=torch.float64, device=self._device) for _ in range(2)
        )

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add images.

        Args:
            output: images.

        Raises:
            ValueError: the probabilities have another shape.
        """
        probabilities = self._features(output).double()
        self._prob_total = self._prob_total + probabilities.sum(dim=0)
        self._total_kl_d = self._total_kl_d + (probabilities * torch.log(probabilities + 1e-16)).sum(dim=0)
        self._num_examples += probabilities.shape[0]

    @sync_all_reduce("_num_examples", "_prob_total", "_total_kl_d")
    def compute(self) -> float:
        """Return the score.

        Returns:
            From 1 for images that are all alike to the number of classes.

        Raises:
            NotComputableError: there is no image yet.
        """
        if self._num_examples == 0:
            raise NotComputableError("InceptionScore needs at least one sample before it is computed")
        mean = self._prob_total / self._num_examples
        divergence = self._total_kl_d / self._num_examples - mean * torch.log(mean + 1e-16)
        return float(divergence.sum().exp())
