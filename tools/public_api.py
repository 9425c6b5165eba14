"""Record the public names of every distribution with their signatures, in `packages/<name>/api.txt`.

    python tools/public_api.py            write the records anew
    python tools/public_api.py --check    fail where a record and the sources differ

Sources are read, not imported. A change to what users can call is therefore always seen in a review, and a name that
vanishes by mistake fails the tests.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import griffe

import boundaries

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = Path(__file__).parents[1] / "packages"


SOURCES = tuple(PACKAGES / name / "src" for name in boundaries.PORTIONS)


@cache
def read_sources(top: str, folders: tuple[Path, ...]) -> Any:
    """Return all modules of a top-level package, whichever distributions they are in."""
    return griffe.load(top, search_paths=folders, allow_inspection=False)


def api_of(package: str, folders: tuple[Path, ...] = SOURCES) -> list[str]:
    """Return a line for each public name of a distribution, sorted.

    Args:
        package: its name.
        folders: where the sources of all distributions are.
    """
    top, *names = boundaries.PORTIONS[package].split(".")
    module = read_sources(top, folders)
    for name in names:
        module = module[name]
    return sorted(set(lines_of_module(module)), key=lambda line: line.removeprefix("class "))


def lines_of_module(module: Any) -> Iterator[str]:
    """Yield the lines of a module's public names, and of the public modules in it."""
    for name, member in module.members.items():
        path = f"{module.path}.{name}"
        if not member.is_alias and member.is_module:
            yield from () if name.startswith("_") else lines_of_module(member)
        elif member.is_public and not name.startswith("_"):
            yield from lines_of_object(member, path)


def lines_of_object(item: Any, path: str) -> Iterator[str]:
    """Yield the line of a class, with those of its members, of a function or of a value."""
    if item.is_alias and not is_private(item.target_path):
        yield f"{path} = {item.target_path}"  # it is recorded there, or is another project's
        return
    item = item.final_target if item.is_alias else item
    if item.is_class:
        yield f"class {path}({', '.join(map(str, item.bases))})"
        for name, member in members_of(item).items():
            yield from lines_of_object(member, f"{path}.{name}")
    elif item.is_function:
        yield from (each.signature(name=path) for each in item.overloads or [item])
    else:
        yield f"{path}: {item.annotation}" if item.annotation else path


def members_of(item: Any) -> dict[str, Any]:
    """Return the members for users of a class: its own, and those of bases that have no record of their own."""
    found: dict[str, Any] = {}
    for base in reversed(item.resolved_bases):
        if not is_recorded(base):
            found |= members_of(base)
    found |= item.members
    return {name: member for name, member in found.items() if not name.startswith("_") or name.endswith("__")}


def is_recorded(item: Any) -> bool:
    """Return whether a class is public where it is defined, or in the nearest public module above."""
    home = item.parent
    while is_private(home.path):
        home = home.parent
    return item.name in home.members and bool(home.members[item.name].is_public)


def is_private(path: str) -> bool:
    """Return whether a dotted name has a private part."""
    return any(part.startswith("_") and not part.endswith("__") for part in path.split("."))


def difference(package: str) -> list[str]:
    """Return the lines in which the record of a distribution and its sources differ."""
    record = PACKAGES / package / "api.txt"
    recorded = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    lines = difflib.unified_diff(recorded, api_of(package), "recorded", "in the sources", lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def main() -> str | None:
    """Write the records, or compare with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a record is not up to date")
    is_check = parser.parse_args().check
    changed = {package: lines for package in boundaries.PORTIONS if (lines := difference(package))}
    for package, lines in changed.items():
        print(package, *lines, sep="\n")
        if not is_check:
            (PACKAGES / package / "api.txt").write_text("\n".join([*api_of(package), ""]), encoding="utf-8")
    return f"not up to date: {', '.join(changed)}" if is_check and changed else None


if __name__ == "__main__":
    sys.exit(main())
