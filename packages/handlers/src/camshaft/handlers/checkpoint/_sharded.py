"""Tensors of which a process holds only a part: a file of a whole model cannot have them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from camshaft.engine import ArgumentTypeError, imported, ranks

_CLASSES = (
    ("torch.distributed.tensor", "DTensor"),  # of FSDP2 and of tensor parallelism
    ("torch.distributed._shard.sharded_tensor", "ShardedTensor"),  # of the older FSDP
)


def require_whole_parameters(target: Any, path: str) -> None:
    """Raise if a module has sharded parameters or buffers, or an optimizer works on such.

    Args:
        target: A module, an optimizer or anything else; only these two are looked into.
        path: The way to it, for the text of the error.

    Raises:
        ArgumentTypeError: it is sharded.
    """
    classes = _sharded_classes()
    if classes:
        for name, tensor in _named_tensors(target):
            if isinstance(tensor, classes):
                raise _error(tensor, f"{path}[{name!r}]")


def require_whole_tensors(state: Any) -> None:
    """Raise if a sharded tensor is anywhere in a nested state.

    Raises:
        ArgumentTypeError: there is one.
    """
    classes = _sharded_classes()
    waiting = [("", state)] if classes else []
    seen: dict[int, Any] = {}
    while waiting:
        path, value = waiting.pop()
        if id(value) in seen:  # a state may hold itself
            continue
        seen[id(value)] = value
        if isinstance(value, classes):
            raise _error(value, path)
        if isinstance(value, Mapping):
            waiting.extend((f"{path}[{key!r}]", inner) for key, inner in value.items())
        elif isinstance(value, list | tuple | set | frozenset):
            waiting.extend((f"{path}[{index}]", inner) for index, inner in enumerate(value))


def require_no_metric_of_ranks(target: Any, path: str) -> None:
    """Raise if an object is or has a metric of torchmetrics that saves its state, and there are several processes.

    Each process has counted its own batches. One process saves, and all would go on from what that one has counted.

    Args:
        target: Any object; modules are looked into.
        path: The way to it, for the text of the error.

    Raises:
        ArgumentTypeError: there is one.
    """
    torchmetrics = imported("torchmetrics")
    if torchmetrics is None or ranks().size == 1 or not isinstance(target, sys.modules["torch"].nn.Module):
        return
    for name, part in target.named_modules():
        if isinstance(part, torchmetrics.Metric) and part.state_dict():
            place = f"{path}.{name}" if name else path
            raise ArgumentTypeError(
                f"`to_save` must not hold a metric in a run of several processes, got {type(part).__name__} at "
                f"{place}: each process has counted its own batches, and one saves; attach it with "
                "camshaft.supervised.attach_metrics, or put it into `stateful` of the trainer: this saves all parts"
            )


def _sharded_classes() -> tuple[type, ...]:
    """Return the classes of sharded tensors that this process can have: those of modules that were imported."""
    found = (getattr(imported(module), name, None) for module, name in _CLASSES)
    return tuple(each for each in found if isinstance(each, type))


def _named_tensors(target: Any) -> Iterator[tuple[str, Any]]:
    torch = imported("torch")
    if torch is None:
        return
    if isinstance(target, torch.nn.Module):
        yield from chain(target.named_parameters(), target.named_buffers())
    elif isinstance(target, torch.optim.Optimizer):
        for number, group in enumerate(target.param_groups):
            yield from ((f"param_groups[{number}]", tensor) for tensor in group["params"])


def _error(tensor: Any, path: str) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"`to_save` must hold whole tensors, got a {type(tensor).__name__} at {path or 'the top'}, of which this "
        "process has only a part; give Checkpoint a ShardedSaver, or gather it first: "
        "torch.distributed.checkpoint.state_dict.get_model_state_dict with full_state_dict=True"
    )
