"""The version of camshaft-handlers; `hatch version` edits it."""

__version__ = "0.1.0"
