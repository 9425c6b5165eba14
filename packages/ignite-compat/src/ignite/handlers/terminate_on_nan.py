"""Stop a training whose numbers are no longer numbers."""

from camshaft.handlers import TerminateOnNan

__all__ = ["TerminateOnNan"]
