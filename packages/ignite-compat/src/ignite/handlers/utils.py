"""Count with another engine's counter."""

from camshaft.handlers import global_step_from_engine

__all__ = ["global_step_from_engine"]
