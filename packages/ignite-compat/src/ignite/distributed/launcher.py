"""One way to start a script that runs in one process or in many."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from ignite.distributed._process import finalize, initialize, require_backend, spawn
from ignite.distributed._topology import get_local_rank

__all__ = ["Parallel"]

logger = logging.getLogger("ignite.distributed.launcher.Parallel")


class Parallel:
    """Run a function in processes that form a group.

    With `nproc_per_node` it starts them itself. Without, it expects that a launcher such as torchrun
    started this one, and only makes the group. Without a backend there is no group.

    Args:
        backend: "nccl" or "gloo"; None for no group.
        nproc_per_node: processes to start on this node.
        nnodes: number of nodes.
        node_rank: number of this one; needed for more than one.
        master_addr: address of the first node; needed for more than one.
        master_port: a free port there.
        init_method: how the processes find each other; None for the variables of the environment.
        **spawn_kwargs: what :func:`spawn` takes besides.

    Raises:
        ValueError: an argument breaks its rule, or does not go with the others.

    Examples:
        >>> def training(local_rank, config):
        ...     print(local_rank, config["lr"])
        >>> with Parallel() as parallel:
        ...     parallel.run(training, {"lr": 0.1})
        0 0.1
    """

    def __init__(
        self,
        backend: str | None = None,
        nproc_per_node: int | None = None,
        nnodes: int | None = None,
        node_rank: int | None = None,
        master_addr: str | None = None,
        master_port: int | None = None,
        init_method: str | None = None,
        **spawn_kwargs: Any,
    ) -> None:
        given: dict[str, Any] = {"nproc_per_node": nproc_per_node, "nnodes": nnodes, "node_rank": node_rank}
        given |= {"master_addr": master_addr, "master_port": master_port, "init_method": init_method}
        self.backend = backend
        self._init_method = init_method
        self._spawn: dict[str, Any] | None = None
        if backend is None:
            _refuse_without_backend(given)
            return
        require_backend(backend)
        if nproc_per_node is not None:
            _check_nodes(nproc_per_node, nnodes, node_rank)
            if (nnodes or 1) > 1 and init_method is None and None in (master_addr, master_port):
                raise ValueError(
                    "`master_addr` and `master_port`, or `init_method`, must be given for several nodes, "
                    f"got {master_addr=}, {master_port=}"
                )
            self._spawn = spawn_kwargs | {key: value for key, value in given.items() if value is not None}

    def run(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Call `func(local_rank, *args, **kwargs)` in each process.

        Args:
            func: at the top level of a module where processes are started.
            *args: its positional arguments after the local rank.
            **kwargs: its keyword arguments.
        """
        if self._spawn is not None and self.backend is not None:
            logger.info("run %r in %s processes", func, self._spawn["nproc_per_node"])
            spawn(self.backend, func, args=args, kwargs_dict=kwargs, **self._spawn)
        else:
            logger.info("run %r", func)
            func(get_local_rank(), *args, **kwargs)
        logger.info("the run has ended")

    def __enter__(self) -> Self:
        if self.backend is not None and self._spawn is None:
            initialize(self.backend, init_method=self._init_method)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.backend is not None and self._spawn is None:
            finalize()


def _refuse_without_backend(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"`{name}` must be None where `backend` is None, got {value!r}")


def _check_nodes(nproc_per_node: int, nnodes: int | None, node_rank: int | None) -> None:
    for name, value in {"nproc_per_node": nproc_per_node, "nnodes": nnodes}.items():
        if value is not None and value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value!r}")
    count = nnodes or 1
    if count > 1 and node_rank is None:
        raise ValueError(f"`node_rank` must be given for {count} nodes, got None")
    if node_rank is not None and not 0 <= node_rank < count:
        raise ValueError(f"`node_rank` must be between 0 and {count - 1}, got {node_rank!r}")
