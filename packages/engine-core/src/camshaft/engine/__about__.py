"""The version of camshaft-engine-core; `hatch version` edits it."""

__version__ = "0.1.0"
