"""The names of PyTorch-Ignite 0.5.5, over Camshaft.

`__version__` is the release whose names these are, for scripts that ask; the version of this distribution is in
`ignite.__about__`. Submodules are imported when they are first used.
"""

from importlib import import_module
from types import ModuleType

from ignite._guard import require_alone

require_alone()

__version__ = "0.5.5"

_SUBMODULES = frozenset({"base", "contrib", "distributed", "engine", "exceptions", "handlers", "metrics", "utils"})


def __getattr__(name: str) -> ModuleType:
    if name in _SUBMODULES:
        return import_module(f"ignite.{name}")
    raise AttributeError(f"module 'ignite' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES})
