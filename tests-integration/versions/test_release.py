"""What keeps a distribution from being released is found."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import boundaries
import public_api
import release

METADATA = """\
Metadata-Version: 2.4
Name: camshaft-handlers
Version: 0.2.0
Summary: Handlers
Project-URL: Documentation, https://camshaft.test/docs
Project-URL: Source, https://camshaft.test/source
Project-URL: Issues, https://camshaft.test/issues
Project-URL: Changelog, https://camshaft.test/changes
License-Expression: BSD-3-Clause
License-File: LICENSE
Classifier: Programming Language :: Python :: 3.11
Classifier: Typing :: Typed
Requires-Python: >=3.11
Description-Content-Type: text/markdown

# Handlers
"""
CHANGELOG = "# Changes\n\n## 0.2.0\n\n- `new_name`\n\n## 0.1.0\n\nThe first version.\n"


def wrong_metadata(old: str = "", new: str = "") -> list[str]:
    assert old in METADATA
    return release.wrong_metadata(METADATA.replace(old, new).encode(), "handlers", "0.2.0", ["3.11"])


def test_right_metadata_are_no_finding() -> None:
    assert wrong_metadata() == []


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("camshaft-handlers", "camshaft-handler", "name"),
        ("0.2.0", "0.2.1", "version"),
        ("License-Expression: BSD-3-Clause", "License: BSD", "license"),
        ("License-File: LICENSE\n", "", "license file"),
        ("Project-URL: Issues, https://camshaft.test/issues\n", "", "addresses"),
        ("camshaft.test", "camshaft.example", "placeholders"),
        ("Python :: 3.11", "Python :: 3.12", "classifiers"),
        ("Typing :: Typed", "Typing :: Types", "classifier"),
        (">=3.11", ">=3.10", "requires Python"),
        ("text/markdown", "text/plain", "Markdown"),
        ("# Handlers\n", "", "empty"),
        ("# Handlers\n", "# Handlers\n[more](../../docs/loop.md)\n", "links to"),
        ("Summary: Handlers", "Summary: Hand\n lers\nSummary: twice", "metadata"),
    ],
)
def test_wrong_metadata_are_found(old: str, new: str, named: str) -> None:
    assert any(named in finding for finding in wrong_metadata(old, new))


@pytest.mark.parametrize(("version", "is_right"), [("0.2.0", True), ("0.1.0", False), ("0.0.9", False), ("0.2", False)])
def test_a_version_is_newer_than_every_earlier_one(version: str, is_right: bool) -> None:
    assert (release.wrong_version(version, ["0.1.0"]) == []) is is_right


def test_the_changelog_begins_with_the_version_and_nothing_waits() -> None:
    assert release.wrong_changelog(CHANGELOG, "0.2.0", []) == []
    assert len(release.wrong_changelog(CHANGELOG, "0.3.0", [])) == 1
    assert len(release.wrong_changelog("## 0.2.0\n\n## 0.1.0\n", "0.2.0", [])) == 1
    assert len(release.wrong_changelog(CHANGELOG, "0.2.0", ["+more.change.md"])) == 1


@pytest.mark.parametrize("package", sorted(boundaries.PORTIONS))
def test_a_changelog_takes_its_changes_from_files_of_their_own(package: str) -> None:
    folder = release.ROOT / "packages" / package
    start = tomllib.loads((release.ROOT / "towncrier.toml").read_text())["tool"]["towncrier"]["start_string"]

    head, _, sections = (folder / "CHANGELOG.md").read_text().partition(start)
    assert head == f"# Changes of camshaft-{package}\n\n"
    assert re.findall(r"^## (?!\d)", sections, re.MULTILINE) == []
    names = {each.name for each in (folder / "changes").iterdir()}
    assert release.wrong_fragments(names - {".gitkeep"}) == []


@pytest.mark.parametrize(
    ("version", "fragments", "named"),
    [
        ("0.3.0", ["+more.change.md"], []),
        ("0.3.0", [], ["no change"]),
        ("0.2.0", ["+more.change.md"], ["section 0.2.0 already"]),
        ("0.3.0", ["+more.change.md", "+more.chnage.md", "notes.txt"], ["+more.chnage.md", "notes.txt"]),
    ],
)
def test_changes_are_folded_into_a_new_section_and_none_is_left_out(
    version: str, fragments: list[str], named: list[str]
) -> None:
    found = release.wrong_fold(CHANGELOG, version, fragments)

    assert [name in finding for name, finding in zip(named, found, strict=True)] == [True] * len(named)


def test_files_that_are_not_committed_are_found() -> None:
    assert release.wrong_tree("") == []
    assert "2 files are not committed, tools/a b.py say" in release.wrong_tree(" M tools/a b.py\n?? new.py\n")[0]


def test_sections_of_a_changelog_are_apart() -> None:
    assert release.with_air("- one\n## 0.1.0\n\n- two\n\n## 0.0.1\n") == "- one\n\n## 0.1.0\n\n- two\n\n## 0.0.1\n"


def test_a_tag_on_another_commit_is_found() -> None:
    assert release.wrong_tag("x-v1", {}, "abc") == release.wrong_tag("x-v1", {"x-v1": "abc"}, "abc") == []
    assert len(release.wrong_tag("x-v1", {"x-v1": "def"}, "abc")) == 1


def test_a_name_may_vanish_with_a_minor_version_that_says_so() -> None:
    before, now = ["class a.B(Base)", "a.B.run(x: int) -> None", "a.old(x) -> int", "a.c = other.c"], ["class a.B()"]

    assert release.vanished_names(before, before, "", is_patch=True) == []
    assert release.vanished_names(before, now, "`run`, `old` and `c` are gone", is_patch=False) == []
    assert len(release.vanished_names(before, now, "`run` and `c` are gone", is_patch=False)) == 1
    assert len(release.vanished_names(before, now, "`run()` and `a.c`: a run of old", is_patch=False)) == 1
    assert len(release.vanished_names(before, now, "`run`, `old` and `c` are gone", is_patch=True)) == 3


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the sources of the last releases, one for all tests: they are read once."""
    return tmp_path_factory.mktemp("released")


@pytest.mark.parametrize("package", ["engine-core", "engine-deterministic", "handlers", "supervised"])
def test_what_has_vanished_since_the_last_release_is_told(package: str, released: Path) -> None:
    folder = release.ROOT / "packages" / package
    pages = [*(folder / "changes").glob("*.md"), folder / "CHANGELOG.md"]
    before = release.api_before(package, released)

    assert len(before) > 10
    told = "".join(page.read_text() for page in pages)
    assert release.vanished_names(before, public_api.api_of(package), told, is_patch=False) == []
