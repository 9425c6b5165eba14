"""Models, optimizers and loaders for one process or many."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, Sampler

from ignite.distributed._topology import (
    backend,
    device,
    get_local_rank,
    get_nproc_per_node,
    get_rank,
    get_world_size,
    is_distributed,
)

__all__ = ["DistributedProxySampler", "auto_dataloader", "auto_model", "auto_optim"]

logger = logging.getLogger(__name__)


def auto_model(model: nn.Module, sync_bn: bool = False, **kwargs: Any) -> nn.Module:
    """Move a model to this process's device, and make it one of several replicas where there are more.

    Args:
        model: any model.
        sync_bn: normalize batches over all processes.
        **kwargs: as `DistributedDataParallel` or `DataParallel` takes them.

    Returns:
        in a group of several processes the model in a `DistributedDataParallel`, in one process with
        several GPUs in a `DataParallel`, else the model.
    """
    target = device()
    if not all(_is_on(parameter, target) for parameter in model.parameters()):
        model.to(target)
    if get_world_size() > 1:
        if sync_bn:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]  # torch's
        if backend() == "nccl":
            kwargs.setdefault("device_ids", [get_local_rank()])
        logger.info("wrap the model in DistributedDataParallel")
        return nn.parallel.DistributedDataParallel(model, **kwargs)
    if not is_distributed() and target.type == "cuda" and torch.cuda.device_count() > 1:
        logger.info("wrap the model in DataParallel")
        return nn.DataParallel(model, **kwargs)
    return model


def _is_on(parameter: torch.Tensor, target: torch.device) -> bool:
    return parameter.device.type == target.type and target.index in {None, parameter.device.index}


def auto_optim(optimizer: torch.optim.Optimizer, **kwargs: Any) -> torch.optim.Optimizer:
    """Return the optimizer: `torch.distributed` needs no other one.

    Args:
        optimizer: any optimizer.
        **kwargs: without effect; they are Horovod's.
    """
    return optimizer


def auto_dataloader(dataset: Dataset[Any], **kwargs: Any) -> DataLoader[Any]:
    """Make a loader that gives this process its share of each batch.

    In a group of several processes the batch size is divided by their number, and the workers by the
    processes on a node. Without a sampler the dataset is shared out by torch's `DistributedSampler`,
    in shuffled order unless `shuffle=False`; another sampler is shared out by
    :class:`DistributedProxySampler`. A batch sampler is taken as it is.

    Args:
        dataset: map-style, or iterable-style, which has to share itself out.
        **kwargs: as torch's `DataLoader` takes them, for all processes together. Memory is pinned by
            default where this process computes on a GPU.
    """
    if get_world_size() > 1:
        _share_sizes(kwargs)
        if isinstance(dataset, IterableDataset):
            logger.info("an iterable-style dataset has to give each rank other data")
        else:
            _share_order(dataset, kwargs)
    kwargs.setdefault("pin_memory", device().type == "cuda")
    logger.info("options of the loader: %s", kwargs)
    return DataLoader(dataset, **kwargs)


def _share_sizes(kwargs: dict[str, Any]) -> None:
    world_size, processes = get_world_size(), get_nproc_per_node()
    if kwargs.get("batch_size") is not None and kwargs["batch_size"] >= world_size:
        kwargs["batch_size"] //= world_size
    if kwargs.get("num_workers") is not None and kwargs["num_workers"] >= processes:
        kwargs["num_workers"] = -(-kwargs["num_workers"] // processes)


def _share_order(dataset: Any, kwargs: dict[str, Any]) -> None:
    if kwargs.get("batch_sampler") is not None:
        return
    sampler = kwargs.get("sampler")
    if sampler is None:
        shuffle = kwargs.pop("shuffle", True)
        sampler = DistributedSampler(dataset, num_replicas=get_world_size(), rank=get_rank(), shuffle=shuffle)
    elif isinstance(sampler, DistributedSampler):
        _warn_of_other_place(sampler)
    else:
        sampler = DistributedProxySampler(sampler, num_replicas=get_world_size(), rank=get_rank())
    kwargs["sampler"] = sampler


def _warn_of_other_place(sampler: DistributedSampler[Any]) -> None:
    facts = {"num_replicas": (sampler.num_replicas, get_world_size()), "rank": (sampler.rank, get_rank())}
    for name, (given, own) in facts.items():
        if given != own:
            warnings.warn(f"the sampler's `{name}` is {given}, and {own} here", stacklevel=4)


class DistributedProxySampler(DistributedSampler[Any]):
    """Share the indices of another sampler out between processes.

    Every process draws them all, with torch's generator seeded by the epoch, and takes its part:
    every `num_replicas`-th, from its rank on. What is missing to equal parts is drawn again.

    Args:
        sampler: of a constant length.
        num_replicas: number of processes; None for those of the group.
        rank: of this process; None for that in the group.

    Raises:
        TypeError: `sampler` is not a sampler of torch.
        ValueError: its length changed between two passes.
    """

    def __init__(self, sampler: Sampler[Any], num_replicas: int | None = None, rank: int | None = None) -> None:
        if not isinstance(sampler, Sampler):
            raise TypeError(f"`sampler` must be a sampler of torch, got {type(sampler)}")
        super().__init__(sampler, num_replicas=num_replicas, rank=rank, shuffle=False)  # type: ignore[arg-type]  # only its length counts
        self.sampler = sampler

    def __iter__(self) -> Iterator[Any]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.epoch)
            indices: list[Any] = []
            while len(indices) < self.total_size:
                drawn = list(self.sampler)
                if not drawn:
                    raise ValueError("`sampler` must draw at least one index, got none")
                indices += drawn
        return iter(indices[self.rank : self.total_size : self.num_replicas])
