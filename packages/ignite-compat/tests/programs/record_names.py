"""Write down the public names of pytorch-ignite 0.5.5, module by module.

hatch run bench:python packages/ignite-compat/tests/programs/record_names.py
"""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import FunctionType
from typing import Any

MODULES = (
    "ignite.engine", "ignite.engine.deterministic", "ignite.engine.events", "ignite.utils", "ignite.base",
    "ignite.exceptions", "ignite.distributed", "ignite.handlers", "ignite.metrics", "ignite.metrics.regression",
    "ignite.contrib.engines", "ignite.contrib.engines.common", "ignite.contrib.handlers", "ignite.contrib.metrics",
    "ignite.contrib.metrics.regression",
)  # fmt: skip
FILE = Path(__file__).with_name("names.json")


def public_names(module: Any) -> list[str]:
    """Return the names that a module says are public, else those that its package defines."""
    places = (module.__name__, module.__name__.replace(".contrib", ""))  # old names stand for the new place
    own = (
        name
        for name, value in vars(module).items()
        if str(getattr(value, "__module__", "")).startswith(places) and isinstance(value, type | FunctionType)
    )
    return sorted(name for name in getattr(module, "__all__", own) if not name.startswith("_"))


if __name__ == "__main__":
    assert version("pytorch-ignite") == "0.5.5"
    names = {name: public_names(import_module(name)) for name in MODULES}
    FILE.write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
