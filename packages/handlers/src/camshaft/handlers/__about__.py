"""The version of camshaft-handlers; `hatch version` edits it."""

__version__ = "0.2.0"
