"""Processes that train together, over `torch.distributed`."""

from ignite.distributed import utils
from ignite.distributed.auto import DistributedProxySampler, auto_dataloader, auto_model, auto_optim
from ignite.distributed.launcher import Parallel
from ignite.distributed.utils import *  # noqa: F403  # exactly its `__all__`

__all__ = ["DistributedProxySampler", "Parallel", "auto_dataloader", "auto_model", "auto_optim"]
__all__ += utils.__all__
