"""Where this process stands among the others: ranks, nodes, device. Everything is asked of `torch.distributed`."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Topology:
    """The place of this process on its node, and that of the node.

    Attributes:
        local_rank: number of this process on its node.
        nproc_per_node: processes on this node.
        node_rank: number of this node.
        nnodes: nodes in the group.
    """

    local_rank: int = 0
    nproc_per_node: int = 1
    node_rank: int = 0
    nnodes: int = 1


ALONE = Topology()


class _Place:
    """What is known of this process besides what torch knows of the group.

    Attributes:
        hint: local rank that the user set, None without.
        group: the default group for which `topology` was found.
        topology: the place in it.
    """

    hint: int | None = None
    group: Any = None
    topology: Topology = ALONE


def is_distributed() -> bool:
    """Return whether this process belongs to a group of processes."""
    return dist.is_available() and dist.is_initialized()


def topology() -> Topology:
    """Return the place of this process in the group.

    The variables of torchrun or of SLURM say it. Without them the processes tell each other the
    names of their hosts, once, so all of them must ask.
    """
    if not is_distributed():
        return ALONE
    if _Place.group is not dist.group.WORLD:
        _Place.group, _Place.topology = dist.group.WORLD, _find_topology()
    return _Place.topology


def set_local_rank(index: int) -> None:
    """Say which process of its node this one is, where the group is made by hand and no launcher tells.

    Args:
        index: number of the process on its node, from 0.
    """
    _Place.hint, _Place.group = index, None


def forget_topology() -> None:
    """Find the place anew when it is asked for the next time."""
    _Place.hint = _Place.group = None


def _find_topology() -> Topology:
    rank, world_size = dist.get_rank(), dist.get_world_size()
    local_rank = _Place.hint if _Place.hint is not None else _from_environment("LOCAL_RANK", "SLURM_LOCALID")
    nproc_per_node = _from_environment("LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE")
    if local_rank is None or nproc_per_node is None:
        return _compare_hosts(rank, local_rank)
    node_rank = _from_environment("GROUP_RANK", "SLURM_NODEID")
    return Topology(
        local_rank,
        nproc_per_node,
        rank // nproc_per_node if node_rank is None else node_rank,
        max(1, world_size // nproc_per_node),
    )


def _from_environment(*names: str) -> int | None:
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdecimal()), None)


def _compare_hosts(rank: int, local_rank: int | None) -> Topology:
    hosts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(hosts, socket.gethostname())
    nodes = list(dict.fromkeys(hosts))
    before = hosts[:rank].count(hosts[rank])
    return Topology(
        before if local_rank is None else local_rank, hosts.count(hosts[rank]), nodes.index(hosts[rank]), len(nodes)
    )


def get_rank() -> int:
    """Return the number of this process in the group, 0 without one."""
    return dist.get_rank() if is_distributed() else 0


def get_world_size() -> int:
    """Return the number of processes in the group, 1 without one."""
    return dist.get_world_size() if is_distributed() else 1


def get_local_rank() -> int:
    """Return the number of this process on its node, 0 without a group."""
    return topology().local_rank


def get_nproc_per_node() -> int:
    """Return the number of processes on this node, 1 without a group."""
    return topology().nproc_per_node


def get_nnodes() -> int:
    """Return the number of nodes, 1 without a group."""
    return topology().nnodes


def get_node_rank() -> int:
    """Return the number of this node, 0 without a group."""
    return topology().node_rank


def backend() -> str | None:
    """Return the name of the group's backend, `"gloo"`, `"nccl"` or `"mpi"`; None without a group."""
    return dist.get_backend() if is_distributed() else None


def available_backends() -> tuple[str, ...]:
    """Return the backends that this installation of torch has and that `initialize` takes."""
    has = {"nccl": dist.is_nccl_available, "gloo": dist.is_gloo_available, "mpi": dist.is_mpi_available}
    return tuple(name for name, is_there in has.items() if dist.is_available() and is_there())


def model_name() -> str:
    """Return `"native-dist"` in a group of `torch.distributed`, `"serial"` without one."""
    return "native-dist" if is_distributed() else "serial"


def device() -> torch.device:
    """Return the device that this process computes on.

    That is the GPU of the local rank with NCCL, the CPU with other backends, and without a group the
    accelerator if there is one.
    """
    if not is_distributed():
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return torch.device("cpu") if accelerator is None else torch.device(accelerator.type)
    if backend() == "nccl":
        return torch.device("cuda", get_local_rank())
    return torch.device("cpu")


def hostname() -> str:
    """Return the name of this host."""
    return socket.gethostname()
