"""Objects with a state."""

from ignite.base.mixins import ResettableHandler, Serializable

__all__ = ["ResettableHandler", "Serializable"]
