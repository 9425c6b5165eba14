"""The version of camshaft-supervised; `hatch version` edits it."""

__version__ = "0.2.0"
