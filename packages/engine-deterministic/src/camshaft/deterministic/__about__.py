"""The version of camshaft-engine-deterministic; `hatch version` edits it."""

__version__ = "0.2.0"
