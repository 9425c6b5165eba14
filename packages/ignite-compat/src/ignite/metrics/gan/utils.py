"""What metrics of generated images share: a model that makes features of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ignite.metrics._transform import whole
from ignite.metrics.metric import Metric

__all__ = ["InceptionModel"]


class InceptionModel(nn.Module):
    """Inception v3 of torchvision, trained on ImageNet.

    Args:
        return_features: whether it gives the 2048 features before its last layer, or the probabilities of 1000 classes.
        device: where it computes.

    Raises:
        ModuleNotFoundError: torchvision is not installed.
    """

    def __init__(self, return_features: bool, device: str | torch.device = "cpu") -> None:
        try:
            from torchvision import models  # type: ignore[import-not-found]  # an optional package
        except ImportError as error:
            raise ModuleNotFoundError(
                "the default model needs torchvision: pip install torchvision; or give your own as `feature_extractor`"
            ) from error
        super().__init__()
        self._device = device
        self.model = models.inception_v3(weights=models.Inception_V3_Weights.DEFAULT).to(device)
        self.model.fc = nn.Identity() if return_features else nn.Sequential(self.model.fc, nn.Softmax(dim=1))
        self.model.eval()

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the features of images.

        Args:
            images: of shape (N, 3, H, W).

        Raises:
            ValueError: the shape is another.
        """
        if images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(f"images must have the shape (N, 3, H, W), got {tuple(images.shape)}")
        features: torch.Tensor = self.model(images.to(self._device))
        return features


class FeatureMetric(Metric):
    """Base of metrics over features of images.

    Args:
        num_features: how many features the model gives.
        feature_extractor: the model; None for the images as they are, and without `num_features` too for
            :class:`InceptionModel` with its 1000 probabilities.
        output_transform, device: as :class:`Metric` takes them.

    Raises:
        ModuleNotFoundError: the default model is asked for, and torchvision is not installed.
        ValueError: `num_features` is not positive, or missing.
        TypeError: `feature_extractor` is not a module.
    """

    def __init__(
        self,
        num_features: int | None = None,
        feature_extractor: nn.Module | None = None,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
    ) -> None:
        if num_features is None and feature_extractor is None:
            num_features, feature_extractor = 1000, InceptionModel(return_features=False, device=device)
        if num_features is None:
            raise ValueError("`num_features` must be given together with `feature_extractor`")
        if num_features <= 0:
            raise ValueError(f"`num_features` must be positive, got {num_features!r}")
        if feature_extractor is not None and not isinstance(feature_extractor, nn.Module):
            raise TypeError(f"`feature_extractor` must be a torch.nn.Module, got {feature_extractor!r}")
        self._num_features = num_features
        self._feature_extractor = feature_extractor or nn.Identity()
        super().__init__(output_transform=output_transform, device=device)

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features: torch.Tensor = self._feature_extractor(images.detach()).to(self._device)
        if features.dim() != 2 or features.shape[1] != self._num_features:
            raise ValueError(f"features must have the shape (N, {self._num_features}), got {tuple(features.shape)}")
        if features.shape[0] == 0:
            raise ValueError("a batch must have at least one sample, got none")
        return features
