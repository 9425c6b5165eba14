"""The version of camshaft-engine-core; `hatch version` edits it."""

__version__ = "0.2.0"
