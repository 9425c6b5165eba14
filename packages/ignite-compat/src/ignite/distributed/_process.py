"""Start and end of a group of processes."""

from __future__ import annotations

import atexit
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

from ignite.distributed._collective import barrier, forget_groups
from ignite.distributed._topology import (
    available_backends,
    backend,
    device,
    forget_topology,
    get_local_rank,
    get_nnodes,
    get_node_rank,
    get_nproc_per_node,
    get_rank,
    get_world_size,
    hostname,
    is_distributed,
    model_name,
)
from ignite.utils import setup_logger

LET_GO_S = 0.1  # seconds that the threads of a group have to let go of their last tensors
_NOT_HERE = {
    "horovod": 'Horovod is not supported: launch with torchrun and take "nccl" or "gloo"',
    "xla-tpu": "groups of XLA processes are not supported: launch with torch_xla's own launcher and "
    'call `create_supervised_trainer(..., device="xla")`',
}


def require_backend(name: str) -> None:
    """Refuse a backend that `initialize` does not take.

    Raises:
        ValueError: it is not here; the text names those that are.
    """
    if name not in available_backends():
        reason = _NOT_HERE.get(name, "there is no such backend")
        raise ValueError(f"`backend` must be one of {available_backends()}, got {name!r}; {reason}")


def initialize(backend: str, **kwargs: Any) -> None:
    """Make this process a member of a group.

    Rank and size come from the arguments, else from the variables of torchrun or of SLURM; a process
    without any is a group of its own. A process that ends without `finalize` leaves a gloo group by itself.

    Args:
        backend: "nccl" or "gloo".
        **kwargs: as `torch.distributed.init_process_group` takes them: `timeout`, `init_method`,
            `rank`, `world_size`, ...

    Raises:
        ValueError: no such backend, a rank without a size, or the process is in a group already.
    """
    require_backend(backend)
    forget_topology()
    if (kwargs.get("rank") is None) != (kwargs.get("world_size") is None):
        raise ValueError(f"`rank` and `world_size` must be given together, got {kwargs}")
    options = {key: value for key, value in kwargs.items() if value is not None}
    if "rank" not in options:
        options |= _rank_and_size(options)
    # In memory: nobody else has to find a group of one.
    if options["world_size"] == 1 and "init_method" not in options:
        options["store"] = dist.HashStore()  # type: ignore[attr-defined]  # public, but not in the stubs
    dist.init_process_group(backend, **options)
    if backend == "nccl":
        torch.cuda.set_device(get_local_rank())
    else:
        # The threads of a group that nobody has left abort the process now and then, while Python is taken down.
        atexit.unregister(finalize)
        atexit.register(finalize)
    barrier()


def _rank_and_size(options: Mapping[str, Any]) -> dict[str, int]:
    names = {"rank": ("RANK", "SLURM_PROCID"), "world_size": ("WORLD_SIZE", "SLURM_NTASKS")}
    found = {
        key: next((int(os.environ[name]) for name in choices if name in os.environ), None)
        for key, choices in names.items()
    }
    if None in found.values():
        if options.get("init_method", "env://") != "env://":
            raise ValueError(f"`init_method` {options['init_method']!r} needs `rank` and `world_size`")
        return {"rank": 0, "world_size": 1}
    if "SLURM_PROCID" in os.environ and "RANK" not in os.environ:
        os.environ.setdefault("MASTER_ADDR", first_host(os.environ.get("SLURM_JOB_NODELIST", "localhost")))
        os.environ.setdefault("MASTER_PORT", str(15000 + int(os.environ.get("SLURM_JOB_ID", "0")) % 5000))
    return {key: value for key, value in found.items() if value is not None}


def first_host(nodes: str) -> str:
    """Return the first host of a list in SLURM's notation.

    Examples:
        >>> first_host("gpu[07-09,12],cpu1")
        'gpu07'
    """
    return re.sub(r"\[(\d+)[^\]]*\]", r"\1", re.split(r",(?![^\[]*\])", nodes)[0])


def finalize() -> None:
    """Leave the group; without one nothing happens."""
    if is_distributed():
        dist.destroy_process_group()
        # Replicas of `DistributedDataParallel` keep the threads of the group. These let go of the last tensors a moment
        # after an operation is over, and nobody is told when. If Python is taken down then, the process is aborted.
        time.sleep(LET_GO_S)
    forget_groups()
    forget_topology()


def sync(temporary: bool = False) -> None:
    """Take up a group that was made or destroyed by hand: always done, as every question is asked of torch.

    Args:
        temporary: without effect.
    """
    forget_topology()


def show_config() -> None:
    """Log the configuration, a line for each fact."""
    logger = setup_logger("ignite.distributed.utils", level=logging.INFO, reset=True)
    facts = {
        "distributed configuration": model_name(),
        "backend": backend(),
        "device": device().type,
        "hostname": hostname(),
        "world size": get_world_size(),
        "rank": get_rank(),
        "local rank": get_local_rank(),
        "num processes per_node": get_nproc_per_node(),
        "num nodes": get_nnodes(),
        "node rank": get_node_rank(),
    }
    for name, value in facts.items():
        logger.info("%s: %s", name, value)


def spawn(
    backend: str,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs_dict: Mapping[str, Any] | None = None,
    nproc_per_node: int = 1,
    **kwargs: Any,
) -> None:
    """Start processes on this node that form a group, alone or with those of other nodes, and wait for them.

    Args:
        backend: "nccl" or "gloo".
        fn: called as `fn(local_rank, *args, **kwargs_dict)` in each process; at the top level of a
            module, so that it can be pickled.
        args: its positional arguments after the local rank.
        kwargs_dict: its keyword arguments.
        nproc_per_node: processes on this node.
        **kwargs: `nnodes`, `node_rank`, `master_addr`, `master_port` (a free one by default),
            `init_method`, `timeout`; all others go to `torch.multiprocessing.start_processes`.

    Raises:
        ValueError: no such backend.
        torch.multiprocessing.ProcessRaisedException: a process failed.
    """
    require_backend(backend)
    nnodes, node_rank = kwargs.pop("nnodes", 1), kwargs.pop("node_rank", 0)
    address = kwargs.pop("master_addr", None) or "127.0.0.1"
    port = kwargs.pop("master_port", None) or (free_port() if nnodes == 1 else 2222)
    options = {name: kwargs.pop(name) for name in ("init_method", "timeout") if name in kwargs}
    place = {
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(nnodes * nproc_per_node),
        "LOCAL_WORLD_SIZE": str(nproc_per_node),
        "GROUP_RANK": str(node_rank),
    }
    start_processes(  # type: ignore[no-untyped-call]  # torch's
        _member,
        args=(backend, place, node_rank * nproc_per_node, options, fn, args, dict(kwargs_dict or {})),
        nprocs=nproc_per_node,
        **{"start_method": "spawn", **kwargs},
    )


def _member(
    local_rank: int,
    backend: str,
    place: Mapping[str, str],
    first_rank: int,
    options: Mapping[str, Any],
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> None:
    rank = first_rank + local_rank
    os.environ.update(place, RANK=str(rank), LOCAL_RANK=str(local_rank))
    with member_of(backend, rank=rank, world_size=int(place["WORLD_SIZE"]), **options):
        fn(local_rank, *args, **kwargs)


@contextmanager
def member_of(backend: str, **kwargs: Any) -> Iterator[None]:
    """Be in a group, as `initialize` makes it, for as long as a block runs."""
    initialize(backend, **kwargs)
    try:
        yield
    finally:
        finalize()


def free_port() -> int:
    """Return a port of this host that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
