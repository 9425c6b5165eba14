"""Links between the pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import links


def test_every_link_of_the_markdown_pages_leads_to_a_file_and_a_heading() -> None:
    assert links.broken_in_markdown(links.ROOT) == []


def test_a_link_to_a_missing_file_or_heading_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A page\n\n[b](b.md#its-end) [c](c.md) [d](b.md#the-end) [self](#a-page)\n")
    (tmp_path / "b.md").write_text("## Its end!\n\n```\n[not a link](e.md)\n```\n")
    assert links.broken_in_markdown(tmp_path) == ["a.md: c.md", "a.md: b.md#the-end"]


def test_equal_headings_have_anchors_of_their_own() -> None:
    assert links.slugs("## Use `it`\n## Use it\n") == {"use-it", "use-it-1"}


def test_a_link_of_the_site_to_a_missing_place_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#here"></a><a href="b.html#there"></a><img src="x.png">')
    (tmp_path / "b.html").write_text('<p id="here"><a href="https://example.org/">elsewhere</a>')
    assert links.broken_in_site(tmp_path) == ["a.html: b.html#there", "a.html: x.png"]


def test_every_public_module_is_in_the_api_reference() -> None:
    sources = links.ROOT.glob("packages/*/src/camshaft/*/[a-z]*.py")
    public = {".".join(path.with_suffix("").parts[-3:]) for path in sources}
    public |= {path.parent.name for path in links.ROOT.glob("packages/*/src/camshaft/*/__init__.py")}

    pages = "".join(page.read_text() for page in (links.ROOT / "docs" / "api").glob("*.md"))
    shown = set(re.findall(r"^\.\. automodule:: (?:camshaft\.)?(\S+)$", pages, re.MULTILINE))
    assert public - {f"camshaft.{each}" for each in shown} - shown == set()
