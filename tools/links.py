"""Find links that lead nowhere: in the built site, and in the Markdown files as GitHub shows them.

    python tools/links.py build/docs    fail if a link inside the built site leads nowhere

Links to other sites are left out: whether they answer is not ours to promise.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
SKIPPED = {"build", "dist", "node_modules"}
FENCED = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)


class Page(HTMLParser):
    """What a page links to, and the places in it that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the links and the places of an element."""
        values = {name: value for name, value in attrs if value is not None}
        self.places |= {values[name] for name in ("id", "name") if name in values}
        self.links += [values[name] for name in ("href", "src") if name in values and tag != "base"]


@cache
def read_page(path: Path) -> Page:
    """Return a page of the built site."""
    return Page(path.read_text(encoding="utf-8"))


def slugs(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a Markdown text."""
    found: set[str] = set()
    for heading in HEADING.findall(FENCED.sub("", text)):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        number = sum(each == slug or re.fullmatch(rf"{re.escape(slug)}-\d+", each) is not None for each in found)
        found.add(f"{slug}-{number}" if number else slug)
    return found


@cache
def slugs_of(path: Path) -> set[str]:
    """Return the anchors of a Markdown file."""
    return slugs(path.read_text(encoding="utf-8"))


def places_in(path: Path) -> set[str] | None:
    """Return the places in a file that can be linked to, None where that is not known."""
    if path.suffix == ".html":
        return read_page(path).places
    return slugs_of(path) if path.suffix == ".md" else None


def leads_nowhere(page: Path, link: str) -> bool:
    """Return whether a link of a page leads to a file, or a place in one, that is not there."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = page.parent / unquote(parts.path) if parts.path else page
    if not target.exists():
        return True
    places = places_in(target)
    return bool(parts.fragment) and places is not None and unquote(parts.fragment) not in places


def broken_in_site(folder: Path) -> list[str]:
    """Return a line for each link of a built site that leads nowhere."""
    pages = sorted(folder.rglob("*.html"))
    return [
        f"{page.relative_to(folder)}: {link}"
        for page in pages
        for link in dict.fromkeys(read_page(page).links)
        if leads_nowhere(page, link)
    ]


def broken_in_markdown(folder: Path) -> list[str]:
    """Return a line for each link of the Markdown files of a folder that leads nowhere."""
    pages = [page for page in sorted(folder.rglob("*.md")) if not is_skipped(page.relative_to(folder))]
    return [
        f"{page.relative_to(folder)}: {link}"
        for page in pages
        for link in dict.fromkeys(LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8"))))
        if leads_nowhere(page, link)
    ]


def is_skipped(path: Path) -> bool:
    """Return whether a file is not of the repository."""
    return any(part in SKIPPED or part.startswith(".") for part in path.parts)


def main() -> str | None:
    """Check a built site."""
    folder = Path(sys.argv[1])
    pages = list(folder.rglob("*.html"))
    broken = broken_in_site(folder)
    if not pages:
        return f"no pages in {folder}"
    links = sum(len(read_page(page).links) for page in pages)
    print(f"{len(pages)} pages, {links} links, {len(broken)} that lead nowhere")
    return "\n".join(broken) or None


if __name__ == "__main__":
    sys.exit(main())
