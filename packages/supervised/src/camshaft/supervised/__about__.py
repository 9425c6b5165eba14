"""The version of camshaft-supervised; `hatch version` edits it."""

__version__ = "0.1.0"
