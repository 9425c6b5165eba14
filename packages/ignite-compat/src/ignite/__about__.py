"""The version of this distribution. The package's own `__version__` is the release of Ignite that it stands for."""

__version__ = "0.1.0"
