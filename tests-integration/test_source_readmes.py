"""The README.md in each source folder: it says of every file there what it does, and of nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READMES = sorted(ROOT.glob("packages/*/src/camshaft/**/README.md"))
UNSAID = {"__init__", "__about__"}  # every package has them


def named(text: str) -> set[str]:
    """Return the names in the first column of the tables of a README."""
    first_columns = [line.split("|")[1] for line in text.splitlines() if line.startswith("|")]
    return {name.strip("/") for column in first_columns for name in re.findall(r"`([^`]+)`", column)}


def present(folder: Path) -> set[str]:
    """Return the modules of a folder, and its folders that have modules."""
    modules = {file.stem for file in folder.glob("*.py")}
    folders = {path.name for path in folder.iterdir() if any(path.glob("*.py"))}
    return (modules | folders) - UNSAID


def test_names_stand_in_the_first_column_of_tables() -> None:
    assert named("| file | does |\n|---|---|\n| `_a`, `b/` | calls `_c` |\n`_d` is no table\n") == {"_a", "b"}


def test_every_package_has_a_readme_among_its_sources() -> None:
    packages = {"engine", "deterministic", "handlers", "supervised", "distributed"}
    assert {path.parent.name for path in READMES} >= packages


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.parent.relative_to(ROOT / "packages")))
def test_a_readme_names_the_files_of_its_folder(readme: Path) -> None:
    assert named(readme.read_text(encoding="utf-8")) == present(readme.parent)


@pytest.mark.parametrize("package", sorted({path.relative_to(ROOT).parts[1] for path in READMES}))
def test_every_folder_has_a_readme(package: str) -> None:
    sources = ROOT / "packages" / package / "src" / "camshaft"
    folders = {file.parent for file in sources.rglob("*.py")}
    assert [folder.name for folder in folders if not (folder / "README.md").exists()] == []
