"""Tensors in nested collections, one-hot targets, loggers, seeds, names of files."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import torch

from camshaft.deterministic import manual_seed as seed_generators

__all__ = [
    "apply_to_tensor",
    "apply_to_type",
    "convert_tensor",
    "hash_checkpoint",
    "manual_seed",
    "setup_logger",
    "to_onehot",
]


def convert_tensor(x: Any, device: str | torch.device | None = None, non_blocking: bool = False) -> Any:
    """Move the tensors in a nested collection to a device.

    Args:
        x: a tensor, a string, or mappings and sequences of them, nested to any depth.
        device: where the tensors go; None leaves them.
        non_blocking: copy from pinned memory without waiting, where the device can.

    Returns:
        a collection like `x`; strings are the same objects.

    Raises:
        TypeError: `x` contains something else.

    Examples:
        >>> convert_tensor({"x": [torch.tensor(1), "name"]}, device="cpu")
        {'x': [tensor(1), 'name']}
    """

    def move(tensor: torch.Tensor) -> torch.Tensor:
        return tensor if device is None else tensor.to(device=device, non_blocking=non_blocking)

    return apply_to_tensor(x, move)


def apply_to_tensor(x: Any, func: Callable[[torch.Tensor], Any]) -> Any:
    """Apply a function to each tensor in a nested collection; see :func:`apply_to_type`.

    Args:
        x: a tensor, a string, or mappings and sequences of them, nested to any depth.
        func: takes a tensor.

    Returns:
        a collection like `x`.

    Raises:
        TypeError: `x` contains something else.
    """
    return apply_to_type(x, torch.Tensor, func)


def apply_to_type(x: Any, input_type: type | tuple[type, ...], func: Callable[[Any], Any]) -> Any:
    """Apply a function to each object of a type in a nested collection.

    Args:
        x: an object of the type, a string, or mappings and sequences of them, nested to any depth.
        input_type: the type, or several.
        func: takes an object of the type.

    Returns:
        a collection like `x`; strings and bytes are the same objects.

    Raises:
        TypeError: `x` contains something else.

    Examples:
        >>> apply_to_type({"a": (1, 2), "b": "c"}, int, float)
        {'a': (1.0, 2.0), 'b': 'c'}
    """
    if isinstance(x, input_type):
        return func(x)
    if isinstance(x, str | bytes):
        return x
    if isinstance(x, Mapping):
        items = {key: apply_to_type(value, input_type, func) for key, value in x.items()}
        return type(x)(items)  # type: ignore[call-arg]  # mappings of a batch can be made from a dict
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*(apply_to_type(value, input_type, func) for value in x))
    if isinstance(x, Sequence):
        return type(x)([apply_to_type(value, input_type, func) for value in x])  # type: ignore[call-arg]
    raise TypeError(f"`x` must contain {input_type}, strings, mappings and sequences only, got {type(x)}")


def to_onehot(indices: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Convert class indices to one-hot vectors.

    Args:
        indices: integers in 0 to num_classes - 1, of shape (N, *).
        num_classes: the number of classes C.

    Returns:
        a tensor of type uint8 and shape (N, C, *).

    Examples:
        >>> to_onehot(torch.tensor([0, 2]), num_classes=3)
        tensor([[1, 0, 0],
                [0, 0, 1]], dtype=torch.uint8)
    """
    onehot = indices.new_zeros((indices.shape[0], num_classes, *indices.shape[1:]), dtype=torch.uint8)
    return onehot.scatter_(1, indices.unsqueeze(1), 1)


def manual_seed(seed: int) -> None:
    """Seed `random`, `numpy.random`, torch and all accelerators.

    Args:
        seed: any integer.
    """
    seed_generators(seed)


def setup_logger(
    name: str | None = "ignite",
    level: int = logging.INFO,
    stream: TextIO | None = None,
    format: str = "%(asctime)s %(name)s %(levelname)s: %(message)s",  # noqa: A002  # the documented name
    filepath: str | None = None,
    distributed_rank: int | None = None,
    reset: bool = False,
    encoding: str | None = "utf-8",
) -> logging.Logger:
    """Set up a logger that writes to a stream, and to a file if one is given.

    A logger that has handlers already stays as it is, unless it is reset. On every rank but 0 the
    logger is silent.

    Args:
        name: name of the logger; None for the root.
        level: level of the logger and of its handlers.
        stream: where it writes; None for the standard error stream.
        format: of each line, as `logging.Formatter` takes it.
        filepath: the file that it also writes to.
        distributed_rank: rank of this process; None asks `torch.distributed`.
        reset: set up a logger anew that was set up before.
        encoding: of the file; None for that of the locale.

    Returns:
        the logger.

    Examples:
        >>> import sys
        >>> logger = setup_logger("train", stream=sys.stdout, format="%(name)s: %(message)s")
        >>> logger.info("epoch 1")
        train: epoch 1
    """
    from ignite import distributed

    logger = logging.getLogger(name)
    rank = distributed.get_rank() if distributed_rank is None else distributed_rank
    if rank > 0:
        _replace_handlers(logger, [logging.NullHandler()])
    elif reset or name is None or not logger.handlers:
        logger.setLevel(level)
        handlers: list[logging.Handler] = [logging.StreamHandler(stream)]
        if filepath is not None:
            handlers.append(logging.FileHandler(filepath, encoding=encoding))
        for handler in handlers:
            handler.setLevel(level)
            handler.setFormatter(logging.Formatter(format))
        _replace_handlers(logger, handlers)
    # Else a root logger that was set up too would write each line twice.
    if name is not None:
        logger.propagate = False
    return logger


def _replace_handlers(logger: logging.Logger, handlers: list[logging.Handler]) -> None:
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    for handler in handlers:
        logger.addHandler(handler)


def hash_checkpoint(checkpoint_path: str | Path, output_dir: str | Path) -> tuple[Path, str]:
    """Copy a file of model weights under a name with its hash, as `torch.hub` loads them.

    `model.pt` becomes `model-<the first eight digits of its SHA-256>.pt`.

    Args:
        checkpoint_path: the file.
        output_dir: where the copy goes; made where it does not exist.

    Returns:
        the copy's path, and the whole hash in hexadecimal digits.
    """
    source, folder = Path(checkpoint_path), Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    copy = folder / f"{source.stem}-{digest[:8]}{source.suffix}"
    shutil.copy(source, copy)
    return copy, digest
