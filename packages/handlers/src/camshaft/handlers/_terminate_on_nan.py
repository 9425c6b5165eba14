"""Stop a training whose numbers are no longer numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from numbers import Complex, Rational
from typing import Any

from camshaft.engine import ArgumentTypeError, Engine
from camshaft.handlers._number import is_tensor

Path = tuple[Any, ...]  # the keys and places that lead into a nested value


class TerminateOnNan:
    """Terminate an engine when its output holds NaN or infinity.

    Looked at are numbers, tensors and numpy arrays, also inside mappings, sequences and sets.
    Everything else (strings, None, other objects) is ignored. The log says which entry it was.

    Args:
        output_transform: makes what is looked at from the engine's output; None looks at all of it.

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
        self._transform = output_transform

    def __call__(self, engine: Engine[Any, Any], *_: Any) -> None:
        """Look at the output now."""
        output = engine.state.output
        if self._transform is not None:
            output = self._transform(output)
        place = find_non_finite(output)
        if place is not None:
            engine.logger.warning(
                "TerminateOnNan: output%s is not finite in iteration %d", place, engine.state.iteration
            )
            engine.terminate()


def find_non_finite(output: Any) -> str | None:
    """Return where in a nested output a NaN or infinity is, None when there is none.

    Tensors are asked all at once, because each answer of a device costs a wait for it.

    Examples:
        >>> find_non_finite({"loss": [0.5, float("inf")]})
        "['loss'][1]"
    """
    if is_tensor(output) and output.dim() == 0 and not (output.is_meta or output.is_sparse):
        return None if _is_finite(output.item()) else ""  # a loss: nothing to search, nothing to gather
    tensors: list[tuple[Path, Any]] = []
    for path, value in _leaves(output, (), set()):
        if is_tensor(value):
            tensors.append((path, value))
        elif not _is_finite(value):
            return _written(path)
    path_of_tensor = _first_non_finite(tensors) if tensors else None
    return None if path_of_tensor is None else _written(path_of_tensor)


def _written(path: Path) -> str:
    return "".join(f"[{key!r}]" for key in path)


def _leaves(value: Any, path: Path, open_containers: set[int]) -> Iterator[tuple[Path, Any]]:
    """Yield everything in a nested value that is not a container, and the keys that lead there."""
    if value is None or isinstance(value, str | bytes | bytearray | range):
        return
    if isinstance(value, Mapping):
        items: Iterable[tuple[Any, Any]] = value.items()
    elif isinstance(value, Sequence | AbstractSet):
        items = enumerate(value)
    else:
        yield path, value
        return
    if id(value) in open_containers:  # it holds itself
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
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
        return value.dtype.kind not in "fc" or bool(numpy.isfinite(value).all())
    if isinstance(value, Complex):
        # A number less itself is zero, however large it is, unless it is NaN or infinite.
        return bool(value - value == 0)
    return True


def _first_non_finite(tensors: Sequence[tuple[Path, Any]]) -> Path | None:
    import torch

    asked = [
        (path, tensor.detach())
        for path, tensor in tensors
        if (tensor.is_floating_point() or tensor.is_complex()) and not tensor.is_meta
    ]
    if not asked:
        return None
    # One accelerator gathers all answers, so that only the last line waits, and only for that one.
    home = next((tensor.device for _, tensor in asked if tensor.device.type != "cpu"), asked[0][1].device)
    answers = [_all_finite(tensor).to(home, non_blocking=True) for _, tensor in asked]
    finite = torch.stack(answers).tolist()
    return next((path for (path, _), fine in zip(asked, finite, strict=True) if not fine), None)


def _all_finite(tensor: Any) -> Any:
    import torch

    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce()
    if tensor.layout is not torch.strided or tensor.is_nested:
        tensor = tensor.values()
    if tensor.element_size() == 1:  # the 8-bit formats know no `isfinite`
        tensor = tensor.float()
    return torch.isfinite(tensor).all()
