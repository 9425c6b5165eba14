"""The functions for several processes, in one."""

from __future__ import annotations

import os
import socket

import torch
from torch.utils.data import TensorDataset, WeightedRandomSampler

import ignite.distributed as idist
from ignite.distributed.auto import DistributedProxySampler
from reference_cases.tools import case, raises


@case
def a_process_that_is_alone():
    return {
        "place": [idist.get_rank(), idist.get_local_rank(), idist.get_world_size(), idist.get_nproc_per_node(),
                  idist.get_nnodes(), idist.get_node_rank()],
        "names": [idist.backend(), idist.model_name(), idist.device().type],
        "collectives": [
            idist.all_reduce(5), idist.all_reduce(5.5), idist.all_reduce(torch.tensor([1.0, 2.0]), op="MAX"),
            idist.all_gather(5), idist.all_gather("text"), idist.all_gather(torch.tensor([1])),
            idist.broadcast(5), idist.broadcast("text"), idist.barrier(), idist.finalize(),
        ],
    }  # fmt: skip


@case
def sections_for_one_process():
    seen = []

    @idist.one_rank_only()
    def first(number):
        """Append a number."""
        seen.append(number)
        return number

    @idist.one_rank_only(rank=1, with_barrier=True)
    def second():
        seen.append("second")

    result = first(3)
    second()
    with idist.one_rank_first():
        seen.append("before the others")
    return [seen, result, first.__name__, first.__doc__]


@case
def parts_of_a_training_that_are_adapted():
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = idist.auto_dataloader(TensorDataset(torch.arange(10)), batch_size=4, shuffle=True, num_workers=0)
    shares = []
    for rank in range(2):
        sampler = DistributedProxySampler(WeightedRandomSampler(torch.ones(10), 10), num_replicas=2, rank=rank)
        sampler.set_epoch(1)
        shares.append([len(sampler), list(sampler)])
    return [
        idist.auto_model(model) is model, idist.auto_optim(optimizer) is optimizer,
        [loader.batch_size, loader.pin_memory, type(loader.sampler).__name__, len(loader)], shares,
        raises(TypeError, DistributedProxySampler, None),
    ]  # fmt: skip


def noted(rank, seen, number, more=0):
    seen.append([rank, number, more, idist.get_world_size(), idist.backend(), idist.all_reduce(3)])


@case
def launching_in_one_process():
    seen = []
    with idist.Parallel(backend=None) as parallel:
        parallel.run(noted, seen, 5, more=2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launched = {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in launched.items()})
    try:
        with idist.Parallel(backend="gloo") as parallel:
            parallel.run(noted, seen, 6)
    finally:
        for name in launched:
            del os.environ[name]
    return [
        seen, idist.backend(), raises(ValueError, idist.Parallel, backend="carrier pigeons"),
        raises(ValueError, idist.Parallel, backend=None, nproc_per_node=2),
        [raises(ValueError, idist.Parallel, backend="gloo", nproc_per_node=each) for each in (0, -1)],
        raises(ValueError, idist.Parallel, backend="gloo", nproc_per_node=1, nnodes=2),
    ]  # fmt: skip
