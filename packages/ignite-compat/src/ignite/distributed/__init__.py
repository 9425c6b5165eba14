"""Processes that train together, over `torch.distributed`."""

import torch.distributed as dist

__all__ = ["get_rank", "get_world_size"]


def get_rank() -> int:
    """Return the rank of this process in the group, 0 without one."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def get_world_size() -> int:
    """Return the number of processes of the group, 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
