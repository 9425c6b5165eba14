"""`ignite.metrics.gpu_info` under the name that it had before it moved."""

from ignite.metrics.gpu_info import GpuInfo

__all__ = ["GpuInfo"]
