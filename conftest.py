"""Every test run: one thread, and the Python blocks of the Markdown files as tests."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from warm_python import WarmPython

if TYPE_CHECKING:
    from collections.abc import Iterator

# The order of a sum depends on the number of threads: one makes every figure the same on every machine, and tests that
# start processes of their own do not fight for cores. Set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """Return what runs programs without importing torch for each of them anew."""
    python = WarmPython()
    yield python
    python.close()


@pytest.fixture(scope="module")
def folder_of_document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the examples of a Markdown file write into a folder of their own."""
    with contextlib.chdir(tmp_path_factory.mktemp("document")):
        yield


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["*.md"],
    fixtures=["folder_of_document"],
).pytest()
