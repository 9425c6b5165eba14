"""Stop a training when its time is over."""

from camshaft.handlers import TimeLimit

__all__ = ["TimeLimit"]
