"""Every public name of pytorch-ignite 0.5.5 is here, or the page for those who come from it says what to use instead.

`programs/record_names.py` wrote the names down, and says by which command.
"""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

NAMES = json.loads((Path(__file__).parent / "programs" / "names.json").read_text(encoding="utf-8"))
PAGE = (Path(__file__).parents[3] / "docs" / "from-ignite.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## Names")[2].partition("## Differences")[0]
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines() if line.startswith("| `")]


def quoted(text):
    return re.findall(r"`([\w.]+)`", text)


@pytest.mark.parametrize("module", NAMES)
def test_each_name_is_here_or_on_the_page(module):
    here = import_module(module)
    missing = quoted(" ".join(row[2] for row in ROWS))
    without = [name for name in NAMES[module] if name not in missing and not _has(here, name)]
    assert [] == without


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_each_name_that_the_page_calls_the_same_is_here(row):
    modules = [import_module(name) for name in quoted(row[0])]
    absent = [
        name
        for name in quoted(row[1])
        if not any(_has(module, name) for module in modules) and not name.startswith("...")
    ]
    assert [] == absent


def _has(module, name):
    try:
        return hasattr(module, name.partition(".")[0]) or bool(import_module(f"{module.__name__}.{name}"))
    except ModuleNotFoundError:
        return False
