"""Fail unless every package of the repository is imported from below a folder: `require_below.py FOLDER`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import boundaries


def main() -> None:
    """Look where each package would be imported from."""
    folder = Path(sys.argv[1]).resolve()
    for name in boundaries.PORTIONS.values():
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None or folder not in Path(found.origin).resolve().parents:
            sys.exit(f"{name} would be imported from {found and found.origin}, not from {folder}")


if __name__ == "__main__":
    main()
