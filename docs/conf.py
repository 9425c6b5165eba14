"""The documentation site: the pages of this folder, and what the docstrings say.

`hatch run docs:build` builds it into `build/docs`. The pages are plain Markdown that reads as well on GitHub. The
navigation is made from the links in each README.md, so that there is one table of contents for both.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "Camshaft"
author = "Camshaft contributors"
project_copyright = author
root_doc = "README"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# Pages: GitHub gives every heading an anchor.
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a page may begin its sections at any level

# Docstrings: what is between single backticks is a link where the name exists, and code elsewhere.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Fires", "returns_style"), ("Sources", "notes_style")]
python_maximum_signature_line_length = 120
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = "Camshaft"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}

LINE = re.compile(r"^(?:\||- |\d+\. ).*", re.MULTILINE)  # of a table or a list
LINK = re.compile(r"\[[^\]]+\]\(([\w./-]+?)\.md\)")


def add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    """Append to a table of contents what the links of each of its sections lead to."""
    if page.endswith("README"):
        source[0] += "".join(f"\n```{{toctree}}\n:hidden:\n{tree}\n```\n" for tree in trees(page, source[0]))


def trees(page: str, text: str) -> Iterator[str]:
    """Yield for each section of a table of contents its title and the pages that it links."""
    for section in re.split(r"^## ", text, flags=re.MULTILINE):
        found = LINK.findall("\n".join(LINE.findall(section)))
        linked = [link for link in dict.fromkeys(found) if not link.startswith("..")]
        title = section.partition("\n")[0] if page == root_doc and not section.startswith("# ") else ""
        if linked:
            yield "\n".join([f":caption: {title}\n" if title else "", *linked])


def name_folder(_app: Sphinx, _what: str, _name: str, _item: object, _options: object, lines: list[str]) -> None:
    """Show a folder where an example takes the one that the tests give it."""
    lines[:] = [line.replace('getfixture("tmp_path")', 'Path("folder")') for line in lines]


def find_public(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Resolve the name of a class of ours that is written without its module, or with a private one."""
    name = str(node["reftarget"]).rpartition(".")[2]
    if node.get("refdomain") != "py" or not name[:1].isupper():
        return None
    python = env.domains["py"]
    found = [each for each in python.objects if each.endswith(f".{name}")]
    return python.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], node, content) if found else None


def drop_object(_app: Sphinx, _name: str, _item: object, _options: object, bases: list[object]) -> None:
    """Leave out the base that every class has."""
    bases[:] = [base for base in bases if base is not object]


def drop_empty_bases(_app: Sphinx, page: nodes.document) -> None:
    """Leave out the line about bases where none is left."""
    for line in list(page.findall(nodes.paragraph)):
        if line.astext() == "Bases:":
            line.parent.remove(line)


def skip_fields(_app: Sphinx, _what: str, _name: str, item: object, _skip: bool, _options: object) -> bool | None:
    """Leave out the fields of named tuples: the docstring of the class says what they are."""
    return True if str(item.__doc__).startswith("Alias for field number") else None


def add_index_pages(app: Sphinx, error: Exception | None) -> None:
    """Let each folder of the site open its README."""
    if error is None and app.builder.name == "html":
        for page in Path(app.outdir).rglob("README.html"):
            shutil.copyfile(page, page.with_name("index.html"))


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("source-read", add_navigation)
    app.connect("autodoc-process-bases", drop_object)
    app.connect("autodoc-process-docstring", name_folder)
    app.connect("doctree-read", drop_empty_bases)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("missing-reference", find_public)
    app.connect("build-finished", add_index_pages)
