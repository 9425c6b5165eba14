"""The version of camshaft-engine-deterministic; `hatch version` edits it."""

__version__ = "0.1.0"
