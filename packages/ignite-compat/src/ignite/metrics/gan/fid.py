"""The Frechet distance of features of images."""

from __future__ import annotations

from typing import Any

import torch

from ignite.exceptions import NotComputableError
from ignite.metrics.gan.utils import FeatureMetric
from ignite.metrics.metric import reinit__is_reduced, sync_all_reduce

__all__ = ["FID"]


class FID(FeatureMetric):
    """Frechet distance of the features of two sets of images, taken as normally distributed.

    `update` takes `(y_pred, y)`: images of both sets, the same number.

    Args:
        num_features: how many features the model gives.
        feature_extractor: gives features of shape (N, num_features); None takes the images as they are, and without
            `num_features` too, torchvision's Inception v3 makes 1000 of them.
        output_transform, device: as :class:`Metric` takes them.

    Raises:
        ModuleNotFoundError: the default model is asked for, and torchvision is not installed.
        ValueError: `num_features` is not positive, or missing.
        TypeError: `feature_extractor` is not a module.

    Sources:
        Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NIPS 2017.

    Examples:
        >>> distance = FID(num_features=2)
        >>> features = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]])
        >>> distance.update((features, features + 1.0))
        >>> round(distance.compute(), 4)
        2.0
    """

    _state_dict_all_req_keys = ("_num_examples", "_train_total", "_test_total", "_train_sigma", "_test_sigma")

    @reinit__is_reduced
    def reset(self) -> None:
        """Forget everything."""
        size = self._num_features
        self._train_total, self._test_total = (
            torch.zeros(size, dtype=torch.float64, device=self._device) for _ in range(2)
        )
        self._train_sigma, self._test_sigma = (
            torch.zeros(size, size, dtype=torch.float64, device=self._device) for _ in range(2)
        )
        self._num_examples = 0

    @reinit__is_reduced
    def update(self, output: Any) -> None:
        """Add images of both sets.

        Args:
            output: images of the two sets.

        Raises:
            ValueError: the numbers of images differ, or the features have another shape.
        """
        train, test = (self._features(images).double() for images in output)
        if train.shape != test.shape:
            raise ValueError(f"both sets must have as many images, got {len(train)} and {len(test)}")
        self._train_total, self._test_total = self._train_total + train.sum(dim=0), self._test_total + test.sum(dim=0)
        self._train_sigma, self._test_sigma = self._train_sigma + train.T @ train, self._test_sigma + test.T @ test
        self._num_examples += train.shape[0]

    @sync_all_reduce("_num_examples", "_train_total", "_test_total", "_train_sigma", "_test_sigma")
    def compute(self) -> float:
        """Return the distance.

        Returns:
            0 for equal distributions.

        Raises:
            NotComputableError: there are less than two images of each.
        """
        count = self._num_examples
        if count < 2:
            raise NotComputableError("FID needs at least two samples before it is computed")
        train_mean, test_mean = self._train_total / count, self._test_total / count
        train_cov = (self._train_sigma - train_mean.outer(train_mean) * count) / (count - 1)
        test_cov = (self._test_sigma - test_mean.outer(test_mean) * count) / (count - 1)
        # The trace of the root of a product is the sum of the roots of its eigenvalues.
        eigenvalues = torch.linalg.eigvals(train_cov @ test_cov).real.clamp(min=0.0)
        traces = train_cov.trace() + test_cov.trace() - 2 * eigenvalues.sqrt().sum()
        return float(((train_mean - test_mean) ** 2).sum() + traces)
