"""The version of camshaft-distributed; `hatch version` edits it."""

__version__ = "0.1.0"
