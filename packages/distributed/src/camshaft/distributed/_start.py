"""Starting: one script for one process and for many."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import torch
from torch import distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]  # they are public all the same

from camshaft.distributed._attempt import join_attempt
from camshaft.distributed._board import Board
from camshaft.distributed._control import Control
from camshaft.distributed._process import Links, Process, require_not_started
from camshaft.distributed._watch import Watch
from camshaft.engine import ArgumentError, is_integer

_STARTS = itertools.count()  # of this process; all processes of a job start as often


class Place(NamedTuple):
    """What a launcher says to a process: torchrun, or whoever sets the same variables.

    Attributes:
        rank, size, local_rank: as in `Process`.
        host, port: where the store of all processes is.
        has_store: whether somebody else keeps the store; else rank 0 does.
    """

    rank: int
    size: int
    local_rank: int
    host: str
    port: int
    has_store: bool

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Place | None:
        """Return what the environment says, None for a process that is alone.

        Raises:
            ArgumentError: a variable is missing or no number.
        """
        size = _number(environment, "WORLD_SIZE", "1")
        if size == 1:
            return None
        missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not environment.get(name)]
        if missing:
            raise ArgumentError(
                f"the environment must have RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, got none of {missing}; "
                "start the script with torchrun, which sets them"
            )
        rank = _number(environment, "RANK")
        return cls(
            rank,
            size,
            _number(environment, "LOCAL_RANK", str(rank)),
            environment["MASTER_ADDR"],
            _number(environment, "MASTER_PORT"),
            environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        )


def _number(environment: Mapping[str, str], name: str, default: str = "") -> int:
    text = environment.get(name) or default
    if not text.isdecimal():
        raise ArgumentError(f"the environment variable `{name}` must be an integer, got {text!r}; torchrun sets it")
    return int(text)


def start(
    *,
    timeout_s: float = 600.0,
    control_timeout_s: float | None = None,
    grace_s: float = 5.0,
    device: str | None = None,
) -> Process:
    """Join the other processes of this job; do nothing where there is only one.

    So one script serves one process and many: `python train.py`, `torchrun --nproc-per-node 4 train.py`. Reads the
    variables that torchrun sets (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT).

    Makes torch's process group, with the backend of the device, or takes the one that is there, and beside it a small
    group on the CPU for control messages. A job that torchrun starts anew does not read what the attempt before has
    left. From then on handlers that save or write files know which process they are in.

    Args:
        timeout_s: seconds to wait for the others: here, and in the training's own operations.
        control_timeout_s: seconds to wait in control messages; longer than the slowest save takes. None means
            `timeout_s`.
        grace_s: seconds to leave a run, and to end, once a process has failed. One that is still there then, in an
            operation of torch perhaps, is ended. More than a handler of EXCEPTION_RAISED takes, or other cleaning up.
        device: "cpu", "cuda" or what else torch knows; None for the accelerator, if there is one, else the CPU. The
            local rank is its index.

    Returns:
        This process among the others.

    Raises:
        ArgumentError: a time is not positive, or the environment lacks a variable.
        RankMissingError: a process has not started in time; the text says which.
        RunningError: this process has started already.

    Examples:
        >>> with start() as process:  # alone: nothing is started
        ...     process.rank, process.size
        (0, 1)
    """
    control_s = timeout_s if control_timeout_s is None else control_timeout_s
    for argument, value in (("timeout_s", timeout_s), ("control_timeout_s", control_s), ("grace_s", grace_s)):
        if not (isinstance(value, float) or is_integer(value)) or not 0 < value < math.inf:
            raise ArgumentError(f"`{argument}` must be a positive number of seconds, got {value!r}")
    require_not_started()
    is_made = distributed.is_available() and distributed.is_initialized()
    place = Place.read(os.environ)
    if is_made:
        rank, size = distributed.get_rank(), distributed.get_world_size()
        local_rank = int(os.environ.get("LOCAL_RANK", rank))
    else:
        rank, size, local_rank = (0, 1, 0) if place is None else place[:3]
    own_device = _use_device(device, local_rank)
    if size == 1:
        return Process(rank, size, local_rank, own_device, None)
    if is_made or place is None:
        store: Any = distributed.distributed_c10d._get_default_store()  # noqa: SLF001 - there is no public way to it
    else:
        store = _meet(place, timeout_s)
    # Over one process group this may be called again, after an end or a failure. What was left then is not read again.
    own_store: Any = PrefixStore(f"camshaft/{next(_STARTS)}", store)
    watch = Watch(Board(own_store.clone()), rank, size, control_s, float(grace_s))
    watch.begin()  # a process that is killed from now on is noticed, also where torch would wait for it for ever
    try:
        if place is not None and not is_made:
            _make_group(place, store, own_device, timeout_s)
        group = distributed.new_group(backend="gloo", timeout=timedelta(seconds=control_s))
    except BaseException as error:
        watch.report_failure(f"{type(error).__name__}: {error}")
        watch.stop()
        raise
    keeps_store = rank == 0 and not (place is not None and place.has_store)
    links = Links(Control(group, watch, control_s), watch, keeps_store=keeps_store, owns_group=not is_made)
    return Process(rank, size, local_rank, own_device, links)


def _use_device(name: str | None, local_rank: int) -> torch.device:
    """Return the device of this process, and make it the one that torch uses."""
    if name is None:
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        name = "cpu" if accelerator is None else accelerator.type
    device = torch.device(name)
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or accelerator.type != device.type:
        return device
    index = local_rank if device.index is None else device.index
    torch.accelerator.set_device_index(index)
    return torch.device(device.type, index)


def _meet(place: Place, timeout_s: float) -> Any:
    """Return a store for this attempt alone, once all processes have come."""
    timeout = timedelta(seconds=timeout_s)
    is_keeper = place.rank == 0 and not place.has_store
    shared = TCPStore(place.host, place.port, None, is_keeper, timeout, wait_for_workers=False, multi_tenant=True)
    attempt = join_attempt(PrefixStore("camshaft", shared), place.rank, place.size, timeout_s)
    return PrefixStore(f"camshaft/{attempt}", shared)


def _make_group(place: Place, store: Any, device: torch.device, timeout_s: float) -> None:
    """Make the process group of this attempt."""
    backend, timeout = "gloo", timedelta(seconds=timeout_s)
    if device.type != "cpu":
        backend = f"cpu:gloo,{device.type}:{distributed.get_default_backend_for_device(device)}"
    distributed.init_process_group(backend, store=store, rank=place.rank, world_size=place.size, timeout=timeout)
