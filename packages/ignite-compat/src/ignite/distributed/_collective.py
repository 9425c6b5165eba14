"""What all processes of a group do together; without a group each function returns what it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from numbers import Number
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from ignite.distributed._topology import device, get_local_rank, get_nproc_per_node, get_rank, get_world_size
from ignite.distributed._topology import is_distributed as _is_distributed

Handler = TypeVar("Handler", bound=Callable[..., Any])

_OPERATIONS = {
    "SUM": "SUM",
    "PRODUCT": "PRODUCT",
    "MIN": "MIN",
    "MAX": "MAX",
    "AND": "BAND",
    "OR": "BOR",
}
_groups: dict[tuple[int, ...], Any] = {}


def barrier() -> None:
    """Wait until every process of the group has come here."""
    if not _is_distributed():
        return
    if dist.get_backend() == "nccl":
        dist.barrier(device_ids=[get_local_rank()])
    else:
        dist.barrier()


def new_group(ranks: list[int], **kwargs: Any) -> Any:
    """Make a group of some of the processes; all processes must call it.

    Args:
        ranks: the members.
        **kwargs: as `torch.distributed.new_group` takes them.

    Returns:
        the group, or torch's mark for "no member"; without a group of all, `ranks`.

    Raises:
        ValueError: `ranks` is not a list of integers, or one of them does not exist.
    """
    if not isinstance(ranks, list) or not all(isinstance(rank, int) for rank in ranks):
        raise ValueError(f"`ranks` must be a list of integers, got {ranks!r}")
    return dist.new_group(ranks=ranks, **kwargs) if _is_distributed() else ranks


def forget_groups() -> None:
    """Drop the groups that were made for lists of ranks."""
    _groups.clear()


def _as_group(group: Any) -> Any:
    if group is None or group is dist.GroupMember.NON_GROUP_MEMBER or isinstance(group, dist.ProcessGroup):
        return group
    if isinstance(group, list) and all(isinstance(rank, int) for rank in group):
        key = tuple(group)
        if key not in _groups:
            _groups[key] = new_group(group)
        return _groups[key]
    raise ValueError(f"`group` must be a list of integers or a process group, got {group!r}")


def all_reduce(tensor: Any, op: str = "SUM", group: Any = None) -> Any:
    """Combine the values of all processes, and give each the result.

    Args:
        tensor: a tensor, which is overwritten where it is on the group's device, or a number.
        op: "SUM", "PRODUCT", "MIN", "MAX", "AND" or "OR".
        group: process group or list of ranks; None for all processes.

    Returns:
        the result, of the kind of `tensor`. Outside `group`, `tensor` itself.

    Raises:
        TypeError: `tensor` is neither a tensor nor a number.
        ValueError: `op` or `group` is none of those that exist.
    """
    if not _is_distributed():
        return tensor
    if not isinstance(tensor, torch.Tensor | Number):
        raise TypeError(f"`tensor` must be a tensor or a number, got {type(tensor)}")
    if op not in _OPERATIONS:
        raise ValueError(f"`op` must be one of {sorted(_OPERATIONS)}, got {op!r}")
    group = _as_group(group)
    if group is dist.GroupMember.NON_GROUP_MEMBER:
        return tensor
    return _on_device(tensor, lambda value: _reduced(value, op, group))


def _reduced(tensor: torch.Tensor, op: str, group: Any) -> torch.Tensor:
    dist.all_reduce(tensor, getattr(dist.ReduceOp, _OPERATIONS[op]), group=group)
    return tensor


def _on_device(value: Any, function: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Apply `function` on the group's device; the result is of the kind of `value`, and where `value` is."""
    target = device()
    if not isinstance(value, torch.Tensor):
        dtype = torch.float64 if isinstance(value, float) else None
        return function(torch.tensor(value, dtype=dtype, device=target)).item()
    if value.device.type == target.type:
        return function(value)
    return function(value.to(target)).to(value.device)


def all_gather(tensor: Any, group: Any = None) -> Any:
    """Collect the values of all processes, for each of them.

    Args:
        tensor: a tensor, of one shape in all processes, or anything that can be pickled.
        group: process group or list of ranks; None for all processes.

    Returns:
        for tensors of shape (N, *) one of shape (world_size * N, *), for single numbers one of shape
        (world_size,); for everything else the list of values. Outside `group`, `tensor` as without any.

    Raises:
        ValueError: `group` is none of those that exist.
    """
    if not _is_distributed():
        return tensor if isinstance(tensor, torch.Tensor) else [tensor]
    group = _as_group(group)
    if group is dist.GroupMember.NON_GROUP_MEMBER:
        return tensor
    if isinstance(tensor, torch.Tensor):
        return _on_device(tensor, lambda value: _gathered(value, group))
    values: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(values, tensor, group=group)
    return values


def _gathered(tensor: torch.Tensor, group: Any) -> torch.Tensor:
    part = (tensor if tensor.ndim else tensor.unsqueeze(0)).contiguous()
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, part, group=group)
    return torch.cat(parts)


def all_gather_tensors_with_shapes(
    tensor: torch.Tensor, shapes: Sequence[Sequence[int]], group: Any = None
) -> list[torch.Tensor]:
    """Collect tensors of different shapes and the same number of dimensions from all processes.

    Args:
        tensor: the one of this process.
        shapes: the shape of each process's tensor, by rank in the group.
        group: process group or list of ranks; None for all processes.

    Returns:
        the tensors, by rank; outside `group`, `[tensor]`.
    """
    if not _is_distributed():
        return [tensor]
    group = _as_group(group)
    if group is dist.GroupMember.NON_GROUP_MEMBER:
        return [tensor]
    largest = [max(sizes) for sizes in zip(*shapes, strict=True)]
    padded = tensor.new_zeros(largest)
    padded[tuple(slice(size) for size in tensor.shape)] = tensor
    gathered = all_gather(padded.unsqueeze(0), group=group)
    return [part[tuple(slice(size) for size in shape)] for part, shape in zip(gathered, shapes, strict=True)]


def broadcast(tensor: Any, src: int = 0, safe_mode: bool = False) -> Any:
    """Give all processes the value of one.

    Args:
        tensor: a tensor, number, string or path. Processes other than the source give a tensor of
            the same shape and type, which is overwritten, or any value that is not a tensor.
        src: rank of the source.
        safe_mode: let the other processes give anything, None too; the source says what comes.

    Returns:
        the value of the source.

    Raises:
        ValueError: the source gives None, or another process does without `safe_mode`.
        TypeError: the value is of another kind.
    """
    if not safe_mode or not _is_distributed():
        if tensor is None:
            raise ValueError("`tensor` must be a tensor, number, string or path, got None; see `safe_mode`")
        return _broadcast(tensor, src) if _is_distributed() else tensor
    # The others learn first what comes, that nothing can come also: nobody waits for a source that gave up.
    is_source = get_rank() == src
    described: list[Any] = [_describe(tensor) if is_source else None]
    dist.broadcast_object_list(described, src=src, device=device())
    kind, shape, dtype = described[0]
    if kind is type(None):
        raise ValueError(f"`tensor` must be a tensor, number, string or path on the source {src}, got None")
    if is_source:
        return _broadcast(tensor, src)
    return _broadcast(torch.empty(shape, dtype=dtype, device=device()) if shape is not None else kind(), src)


def _describe(value: Any) -> tuple[type, torch.Size | None, torch.dtype | None]:
    if isinstance(value, torch.Tensor):
        return torch.Tensor, value.shape, value.dtype
    return type(value), None, None


def _broadcast(value: Any, src: int) -> Any:
    if isinstance(value, torch.Tensor):
        return _on_device(value, lambda tensor: _sent(tensor, src))
    if not isinstance(value, Number | str | Path):
        raise TypeError(f"`tensor` must be a tensor, number, string or path, got {type(value)}")
    values = [value]
    dist.broadcast_object_list(values, src=src, device=device())
    return values[0]


def _sent(tensor: torch.Tensor, src: int) -> torch.Tensor:
    tensor = tensor.contiguous()
    dist.broadcast(tensor, src=src)
    return tensor


def one_rank_only(rank: int = 0, with_barrier: bool = False) -> Callable[[Handler], Handler]:
    """Let a function, a handler say, run on one rank only; the others get None.

    Args:
        rank: the rank.
        with_barrier: all ranks wait afterwards until it is done.
    """

    def decorate(function: Handler) -> Handler:
        @wraps(function)
        def on_one_rank(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs) if get_rank() == rank else None
            finally:
                if with_barrier:
                    barrier()

        return on_one_rank  # type: ignore[return-value]  # it takes what `function` takes

    return decorate


@contextmanager
def one_rank_first(rank: int = 0, local: bool = False) -> Iterator[None]:
    """Let one rank run a block first, and the others when it is done: to download a dataset, say.

    Args:
        rank: the rank.
        local: it is the rank on each node.

    Raises:
        ValueError: there is no such rank.
    """
    own, count = (get_local_rank(), get_nproc_per_node()) if local else (get_rank(), get_world_size())
    if not 0 <= rank < count:
        raise ValueError(f"`rank` must be between 0 and {count - 1}, got {rank}")
    if own != rank:
        barrier()
    try:
        yield
    finally:
        if own == rank:
            barrier()
