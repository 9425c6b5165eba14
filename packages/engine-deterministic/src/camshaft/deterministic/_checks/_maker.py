"""What is checked must be made anew for each run."""

from __future__ import annotations

from typing import Any

from camshaft.engine import NotCallableError, accepts


def require_maker(name: str, make: Any, *arguments: object) -> None:
    """Refuse what is no function that makes data.

    Args:
        name: the name of the argument.
        make: what was given as it.
        arguments: what it is going to be called with: nothing, or a number of workers.

    Raises:
        NotCallableError: it cannot be called, or not with these.
    """
    if callable(make) and accepts(make, *arguments):
        return
    call = f"{name}(workers)" if arguments else f"{name}()"
    way = "lambda workers: DataLoader(dataset, num_workers=workers)" if arguments else "lambda: DataLoader(dataset)"
    raise NotCallableError(
        f"`{name}` must be a function that makes the data anew, called as {call}, got {make!r}; write `{way}`"
    )
