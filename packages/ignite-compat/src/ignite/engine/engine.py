"""The engine; see :class:`camshaft.engine.Engine`."""

from camshaft.engine import Engine

__all__ = ["Engine"]
