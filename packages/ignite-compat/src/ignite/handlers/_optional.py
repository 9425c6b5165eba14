"""Clients of trackers: imported when a logger is made, or the logger is refused by name."""

from __future__ import annotations

import importlib
from typing import Any, NoReturn


def import_tracker(module: str, needed_by: str) -> Any:
    """Return a tracker's module.

    Args:
        module: its name.
        needed_by: the class that needs it.

    Raises:
        ModuleNotFoundError: it is not installed; the text says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ModuleNotFoundError(f"{needed_by} needs {module}; pip install {module}", name=module) from error


class Refused:
    """Base class of names that can be imported and not used: the constructor says what to use instead."""

    reason = "it is not part of camshaft-ignite-compat"

    def __init__(self, *_: Any, **__: Any) -> None:
        refuse(type(self).__name__, self.reason)


def refuse(name: str, reason: str) -> NoReturn:
    """Raise the error of a name that can be imported and not used.

    Raises:
        ImportError: always.
    """
    raise ImportError(
        f"{name} cannot be used: {reason}; use TensorboardLogger, MLflowLogger or WandBLogger, or write a logger of "
        "your own from ignite.handlers.base_logger.BaseLogger"
    )
