"""Bases of objects that have a state or can be reset."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, ClassVar

from camshaft.engine import ArgumentTypeError, Engine, StateDictError

__all__ = ["ResettableHandler", "Serializable"]


class Serializable(metaclass=ABCMeta):  # noqa: B024  # some have no more than a `state_dict`
    """Base of objects that give their state as a mapping and take it back.

    Engines count as instances, and so does everything that has both methods.

    Attributes:
        _state_dict_all_req_keys: keys that a state must have.
        _state_dict_one_of_opt_keys: groups of keys of which a state must have exactly one each.
    """

    _state_dict_all_req_keys: ClassVar[tuple[str, ...]] = ()
    _state_dict_one_of_opt_keys: ClassVar[tuple[tuple[str, ...], ...]] = ()

    @classmethod
    def __subclasshook__(cls, other: type) -> Any:
        if cls is not Serializable:
            return NotImplemented
        return all(callable(getattr(other, name, None)) for name in ("state_dict", "load_state_dict"))

    def state_dict(self) -> OrderedDict[str, Any]:
        """Return the state.

        Raises:
            NotImplementedError: the class does not define it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define `state_dict`")

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Check a state; classes take it back after that.

        Args:
            state_dict: what `state_dict` returned.

        Raises:
            TypeError: it is not a mapping.
            ValueError: a key is missing, or two of one group are there.
        """
        if not isinstance(state_dict, Mapping):
            raise ArgumentTypeError(f"`state_dict` must be a mapping, got {type(state_dict)}")
        for key in self._state_dict_all_req_keys:
            if key not in state_dict:
                raise StateDictError(f"`state_dict` must have the key {key!r}, got {sorted(state_dict)}")
        for keys in self._state_dict_one_of_opt_keys:
            if sum(key in state_dict for key in keys) != 1:
                raise StateDictError(f"`state_dict` must have one of {keys}, got {sorted(state_dict)}")


class ResettableHandler(metaclass=ABCMeta):
    """Base of handlers that can be reset when an event fires."""

    @abstractmethod
    def reset(self, *args: Any, **kwargs: Any) -> None:
        """Forget what was collected."""

    @abstractmethod
    def attach(self, engine: Engine[Any, Any], *args: Any, **kwargs: Any) -> Any:
        """Attach the handler to an engine."""
