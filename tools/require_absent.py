"""Fail if one of the named modules can be imported: what runs next is to prove that it does without them."""

from __future__ import annotations

import importlib.util
import sys


def main(names: list[str]) -> str | None:
    """Return a message that names the modules found, or None."""
    found = [name for name in names if importlib.util.find_spec(name)]
    return f"this environment must not have {', '.join(found)}" if found else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
