"""The structural similarity of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from ignite.metrics._sample_mean import SampleMean, require_same_type
from ignite.metrics._transform import whole

__all__ = ["SSIM"]


class SSIM(SampleMean):
    """Mean over images of their structural similarity, over all pixels; at the border images are mirrored.

    `update` takes `(y_pred, y)` of one shape (N, C, H, W), or (N, C, D, H, W) for 3 dimensions, and one dtype.

    Args:
        data_range: distance between the least and the greatest value that images may have, such as 1.0 or 255.
        kernel_size: an odd number of pixels, or one for each dimension.
        sigma: standard deviation of the Gaussian kernel in pixels, or one for each dimension.
        k1: stabilises the comparison of the means.
        k2: stabilises the comparison of the variances.
        gaussian: whether the kernel is Gaussian, or uniform over the five pixels in its middle.
        output_transform, device, skip_unrolling: as :class:`Metric` takes them.
        ndims: dimensions of an image, 2 or 3.

    Raises:
        ValueError: a size is even or not positive, a deviation is not positive, or `ndims` is neither 2 nor 3.

    Examples:
        >>> similarity = SSIM(data_range=1.0)
        >>> image = torch.arange(256.0).reshape(1, 1, 16, 16) / 256
        >>> similarity.update((image, image))
        >>> round(similarity.compute(), 4)
        1.0
    """

    _state_dict_all_req_keys = ("_sum_of_ssim", "_num_examples")
    _dtype = torch.float64

    def __init__(
        self,
        data_range: float,
        kernel_size: int | Sequence[int] = 11,
        sigma: float | Sequence[float] = 1.5,
        k1: float = 0.01,
        k2: float = 0.03,
        gaussian: bool = True,
        output_transform: Callable[[Any], Any] = whole,
        device: str | torch.device = torch.device("cpu"),  # noqa: B008  # an immutable value
        skip_unrolling: bool = False,
        ndims: int = 2,
    ) -> None:
        if ndims not in (2, 3):
            raise ValueError(f"`ndims` must be 2 or 3, got {ndims!r}")
        self.ndims = ndims
        self.data_range = data_range
        self.gaussian = gaussian
        self.kernel_size = _for_each_dimension("kernel_size", kernel_size, int, ndims)
        self.sigma = _for_each_dimension("sigma", sigma, float, ndims)
        if any(size % 2 == 0 for size in self.kernel_size):
            raise ValueError(f"`kernel_size` must be odd, got {kernel_size!r}")
        self.c1, self.c2 = (k1 * data_range) ** 2, (k2 * data_range) ** 2
        super().__init__(output_transform=output_transform, device=device, skip_unrolling=skip_unrolling)
        self._kernels = [
            _gaussian(size, sigma) if gaussian else _uniform(size)
            for size, sigma in zip(self.kernel_size, self.sigma, strict=True)
        ]

    def _sum_and_count(self, prediction: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
        require_same_type(prediction, target)
        if prediction.dim() != self.ndims + 2:
            raise ValueError(f"`y_pred` and `y` must have {self.ndims + 2} dimensions, got {tuple(prediction.shape)}")
        if not prediction.is_floating_point():
            prediction, target = prediction.float(), target.float()
        count = prediction.shape[0]
        similarity = self._similarity(prediction, target)
        return similarity.reshape(count, -1).mean(dim=1, dtype=torch.float64).sum(), count

    def _similarity(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Return the similarity at each pixel."""
        mean_x, mean_y, mean_xx, mean_yy, mean_xy = self._smooth(torch.cat((x, y, x * x, y * y, x * y))).chunk(5)
        variance_x, variance_y = mean_xx - mean_x**2, mean_yy - mean_y**2
        covariance = mean_xy - mean_x * mean_y
        means = (2 * mean_x * mean_y + self.c1) / (mean_x**2 + mean_y**2 + self.c1)
        return means * (2 * covariance + self.c2) / (variance_x + variance_y + self.c2)

    def _smooth(self, images: torch.Tensor) -> torch.Tensor:
        """Return the weighted mean around each pixel: one dimension after the other, which is the same and faster."""
        padding = [size // 2 for size in reversed(self.kernel_size) for _ in range(2)]
        images = functional.pad(images, padding, mode="reflect")
        channels = images.shape[1]
        convolve = functional.conv2d if self.ndims == 2 else functional.conv3d
        for dim, kernel in enumerate(self._kernels):
            shape = [1] * self.ndims
            shape[dim] = -1
            weight = kernel.to(images).reshape(1, 1, *shape).expand(channels, -1, *[-1] * self.ndims)
            images = convolve(images, weight, groups=channels)
        return images


def _for_each_dimension(name: str, value: Any, kind: type, ndims: int) -> Sequence[Any]:
    values: Any = [value] * ndims if isinstance(value, kind) else value
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != ndims:
        raise ValueError(f"`{name}` must be one {kind.__name__} or {ndims} of them, got {value!r}")
    if any(not each > 0 for each in values):
        raise ValueError(f"`{name}` must be positive, got {value!r}")
    return list(values)


def _uniform(size: int) -> torch.Tensor:
    """Return a kernel of five equal weights in the middle, whatever the size is: that is Ignite's."""
    places = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    return torch.where(places.abs() <= 2.5, 0.2, 0.0)


def _gaussian(size: int, sigma: float) -> torch.Tensor:
    places = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    weights = torch.exp(-((places / sigma) ** 2) / 2)
    return weights / weights.sum()
