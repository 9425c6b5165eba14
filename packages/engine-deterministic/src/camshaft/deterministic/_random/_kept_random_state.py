"""Leave the random number generators as they were found."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from camshaft.deterministic._random._rng_state import capture_rng, restore_rng
from camshaft.engine import ArgumentTypeError

P = ParamSpec("P")
R = TypeVar("R")


class KeptRandomState:
    """Context manager that puts all generators back at the end of its block; made by `keep_random_state()`."""

    def __init__(self) -> None:
        self._saved: list[dict[str, Any]] = []

    def __enter__(self) -> None:
        self._saved.append(capture_rng())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        restore_rng(self._saved.pop())

    def __call__(self, func: Callable[P, R]) -> Callable[P, R]:
        return keep_random_state(func)


@overload
def keep_random_state(func: Callable[P, R]) -> Callable[P, R]: ...
@overload
def keep_random_state(func: None = None) -> KeptRandomState: ...
def keep_random_state(func: Callable[P, R] | None = None) -> Callable[P, R] | KeptRandomState:
    """Put all random number generators back after a function, or after a block.

    Python's, numpy's, torch's and those of the accelerators in use are restored, also when the
    function raises. A handler that draws or seeds then leaves the run's numbers undisturbed.

    Args:
        func: function to wrap; arguments and return value pass through. None: a context manager.

    Raises:
        ArgumentTypeError: `func` cannot be called, or runs only later (a generator, a coroutine).

    Examples:
        >>> import random
        >>> @keep_random_state
        ... def draw(count: int) -> list[float]:
        ...     random.seed(12)
        ...     return [random.random() for _ in range(count)]
        >>> random.seed(0)
        >>> len(draw(3)), random.random() == random.Random(0).random()
        (3, True)
        >>> with keep_random_state():
        ...     random.seed(12)
    """
    if func is None:
        return KeptRandomState()
    if not callable(func):
        raise ArgumentTypeError(f"`func` must be callable, got {func!r}")
    if inspect.isgeneratorfunction(func) or inspect.iscoroutinefunction(func) or inspect.isasyncgenfunction(func):
        raise ArgumentTypeError(
            f"`func` must run when it is called, got {func!r}, which runs later; "
            "use `with keep_random_state():` inside it"
        )

    @wraps(func)
    def keep(*args: P.args, **kwargs: P.kwargs) -> R:
        saved = capture_rng()
        try:
            return func(*args, **kwargs)
        finally:
            restore_rng(saved)

    return keep
