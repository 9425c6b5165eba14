"""Measure how long something takes between events."""

from camshaft.handlers import Timer

__all__ = ["Timer"]
