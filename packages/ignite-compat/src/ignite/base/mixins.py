"""Bases of objects that have a state or can be reset."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from camshaft.engine import Engine

__all__ = ["ResettableHandler", "Serializable"]


class Serializable:
    """Base of objects that give their state as a mapping and take it back."""

    def state_dict(self) -> OrderedDict[str, Any]:
        """Return the state.

        Raises:
            NotImplementedError: the class does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `state_dict`")

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take a state back.

        Args:
            state_dict: what `state_dict` returned.

        Raises:
            NotImplementedError: the class does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `load_state_dict`")


class ResettableHandler(metaclass=ABCMeta):
    """Base of handlers that can be reset when an event fires."""

    @abstractmethod
    def reset(self, *args: Any, **kwargs: Any) -> None:
        """Forget what was collected."""

    @abstractmethod
    def attach(self, engine: Engine[Any, Any], *args: Any, **kwargs: Any) -> Any:
        """Attach the handler to an engine."""
