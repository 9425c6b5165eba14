"""The protocol of save handlers: they take a payload and keep it under a name."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from camshaft.engine import ArgumentTypeError, accepts
from camshaft.handlers.checkpoint.format._record import CheckpointRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class SaveMetadata(dict[str, Any]):
    """What a save handler is told besides the payload: exactly basename, score_name and priority.

    Attributes:
        record: All that the file is to say about itself, for handlers that write it down.
    """

    def __init__(self, record: CheckpointRecord) -> None:
        prefix = f"{record.prefix}_" if record.prefix else ""
        super().__init__(basename=f"{prefix}{record.name}", score_name=record.score_name, priority=record.priority)
        self.record = record


class BaseSaveHandler(ABC):
    """Where checkpoints go. Derive from it to keep them anywhere.

    With several processes only the one of rank `Checkpoint.save_on_rank` calls the handler; on XLA
    devices all of them do.

    Examples:
        >>> class InMemory(BaseSaveHandler):
        ...     def __init__(self):
        ...         self.kept = {}
        ...     def __call__(self, checkpoint, filename, metadata=None):
        ...         self.kept[filename] = checkpoint
        ...     def remove(self, filename):
        ...         del self.kept[filename]
        >>> handler = InMemory()
        >>> handler({"weight": 1.0}, "model_1.pt")
        >>> sorted(handler.kept)
        ['model_1.pt']
    """

    @abstractmethod
    def __call__(self, checkpoint: Mapping[str, Any], filename: str, metadata: Mapping[str, Any] | None = None) -> None:
        """Keep a checkpoint. When this returns it must be safe: older ones are removed right after.

        Args:
            checkpoint: The state to keep; the tensors in it are those in use, not copies.
            filename: Its name.
            metadata: ``basename`` (prefix and name), ``score_name`` and ``priority`` (higher is better).
        """

    @abstractmethod
    def remove(self, filename: str) -> None:
        """Remove a checkpoint.

        Args:
            filename: The name under which it was kept.
        """


def require_done(result: object, save_handler: object) -> None:
    """Raise if a call of a save handler has only made something that would save, were it run.

    Raises:
        ArgumentTypeError: it returned a generator or something to be awaited.
    """
    if inspect.isawaitable(result) or inspect.isgenerator(result) or inspect.isasyncgen(result):
        if inspect.iscoroutine(result):
            result.close()  # else Python warns that nobody awaited it
        raise _lazy_error(save_handler)


def _is_lazy(function: Callable[..., Any]) -> bool:
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return any(is_kind(each) for is_kind in kinds for each in (function, getattr(function, "__call__", None)))  # noqa: B004


def _lazy_error(save_handler: object) -> ArgumentTypeError:
    return ArgumentTypeError(
        f"`save_handler` must have saved when it returns, got {save_handler!r}, which returns something that has yet "
        "to be run; make it a function without `async` and `yield`"
    )


def as_save_handler(function: Callable[..., Any]) -> Callable[[Any, str, SaveMetadata], Any]:
    """Return a function of (checkpoint, filename, metadata) that calls one that takes the first two, or all three.

    Raises:
        ArgumentTypeError: it can be called with neither, or is a generator or a coroutine function.

    Examples:
        >>> as_save_handler(lambda checkpoint, filename: print(filename))({}, "model_1.pt", None)
        model_1.pt
    """
    if _is_lazy(function):
        raise _lazy_error(function)
    if accepts(function, None, None, None):
        return function
    if accepts(function, None, None, metadata=None):
        return lambda checkpoint, filename, metadata: function(checkpoint, filename, metadata=metadata)
    if accepts(function, None, None):
        return lambda checkpoint, filename, _: function(checkpoint, filename)
    raise ArgumentTypeError(
        f"`save_handler` must take (checkpoint, filename) or (checkpoint, filename, metadata), got {function!r}; "
        "change its parameters"
    )
