"""Stop a run whose output is NaN or infinite."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from numbers import Complex, Rational
from typing import Any

from camshaft.engine import ArgumentTypeError, Engine, imported
from camshaft.handlers._number import is_tensor

Path = tuple[Any, ...]  # the keys and indices that lead to a nested value


class TerminateOnNan:
    """Terminates an engine when its output contains NaN or infinity.

    Numbers, tensors and numpy arrays are checked, also inside mappings, sequences and sets. Everything else (strings,
    None, other objects) is ignored. A log message says which entry it was.

    Args:
        output_transform: `f(output)` returns what to check; None checks the whole output.

    Attributes:
        logger: where it writes; None, as at first, for the engine's own logger.

    Raises:
        ArgumentTypeError: `output_transform` cannot be called.

    Examples:
        >>> from camshaft.engine import Events
        >>> engine = Engine(lambda engine, batch: {"loss": batch})
        >>> handle = engine.add_event_handler(Events.ITERATION_COMPLETED, TerminateOnNan())
        >>> engine.run([1.0, 1e100, float("nan"), 2.0]).iteration
        3
    """

    def __init__(self, output_transform: Callable[[Any], Any] | None = None) -> None:
        if output_transform is not None and not callable(output_transform):
            raise ArgumentTypeError(f"`output_transform` must be callable, got {output_transform!r}")
        self.logger: logging.Logger | None = None
        self._transform = output_transform

    def __call__(self, engine: Engine[Any, Any], *_: Any) -> None:
        """Check the output now.

        Args:
            engine: the engine to check and to terminate.
        """
        output = engine.state.output
        if self._transform is not None:
            output = self._transform(output)
        place = find_non_finite(output)
        if place is not None:
            logger = self.logger or engine.logger
            logger.warning("TerminateOnNan: output%s is not finite in iteration %d", place, engine.state.iteration)
            engine.terminate()


def find_non_finite(output: Any) -> str | None:
    """Return where in a nested output NaN or infinity is, None when there is none.

    All tensors are checked together, so that this waits for the device only once.

    Args:
        output: the output, nested to any depth.

    Examples:
        >>> find_non_finite({"loss": [0.5, float("inf")]})
        "['loss'][1]"
    """
    if is_tensor(output) and output.dim() == 0 and not (output.is_meta or output.is_sparse):
        return None if _is_finite(output.item()) else ""  # a loss: there is nothing to search
    tensors: list[tuple[Path, Any]] = []
    for path, value in _leaves(output, (), set()):
        if is_tensor(value):
            tensors.append((path, value))
        elif not _is_finite(value):
            return _format_path(path)
    path_of_tensor = _first_non_finite(tensors) if tensors else None
    return None if path_of_tensor is None else _format_path(path_of_tensor)


def _format_path(path: Path) -> str:
    return "".join(f"[{key!r}]" for key in path)


def _leaves(value: Any, path: Path, open_containers: set[int]) -> Iterator[tuple[Path, Any]]:
    """Yield the path and the value of everything in a nested value that is not a container."""
    if value is None or isinstance(value, str | bytes | bytearray | range):
        return
    if isinstance(value, Mapping):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, Sequence | AbstractSet):
        items = enumerate(value)
    else:
        yield path, value
        return
    if id(value) in open_containers:  # it contains itself
        return
    open_containers.add(id(value))
    for key, item in items:
        yield from _leaves(item, (*path, key), open_containers)
    open_containers.discard(id(value))


def _is_finite(value: Any) -> bool:
    if isinstance(value, Rational):  # an int, of any size
        return True
    if isinstance(value, Decimal):
        return value.is_finite()
    numpy = imported("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        return value.dtype.kind not in "fc" or bool(numpy.isfinite(value).all())
    if isinstance(value, Complex):
        # A number minus itself is zero, unless it is NaN or infinite.
        return bool(value - value == 0)
    return True


def _first_non_finite(tensors: Sequence[tuple[Path, Any]]) -> Path | None:
    import torch

    checked = [
        (path, tensor.detach())
        for path, tensor in tensors
        if (tensor.is_floating_point() or tensor.is_complex()) and not tensor.is_meta
    ]
    if not checked:
        return None
    # All answers are gathered on one accelerator, so that only `tolist` waits, once.
    home = next((tensor.device for _, tensor in checked if tensor.device.type != "cpu"), checked[0][1].device)
    answers = [_all_finite(tensor).to(home, non_blocking=True) for _, tensor in checked]
    finite = torch.stack(answers).tolist()
    return next((path for (path, _), fine in zip(checked, finite, strict=True) if not fine), None)


def _all_finite(tensor: Any) -> Any:
    import torch

    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce()
    if tensor.layout is not torch.strided or tensor.is_nested:
        tensor = tensor.values()
    if tensor.element_size() == 1:  # the 8-bit types have no `isfinite`
        tensor = tensor.float()
    return torch.isfinite(tensor).all()
